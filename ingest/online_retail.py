"""Take UCI *Online Retail II* as published: two years of invoices of a British wholesaler of gifts.

Chen, D. (2012), doi 10.24432/C5CG6D, CC BY 4.0. About 22 % of its lines carry no customer, lines of an invoice `C...`
are cancellations, and codes such as POST, M or BANK CHARGES are not products.
"""

from pathlib import Path

import pandas as pd

from ingest.contract import Column, Contract, row_rules
from ingest.file_source import FileSource, common_date_order, overlaps_kept_once
from ingest.published import published_files
from ingest.schema import PURCHASE, RETURN
from ingest.staging import PLAIN, Reading, stage
from ingest.timestamps import DateOrder

NAME = "online-retail"

# Around Christmas up to 64 % of a real week's lines have no customer, and all year 22 %: each is quarantined as a row.
# Above nine in ten the column itself must be broken.
MISSING_CUSTOMERS_TOLERATED = 0.90

COLUMNS = {
    "invoice": Column("text", ("Invoice", "InvoiceNo")),
    "user_id": Column("id", ("CustomerID", "Customer ID"), missing_tolerated=MISSING_CUSTOMERS_TOLERATED),
    "item_id": Column("id", ("StockCode",), missing_tolerated=0.10),
    "item_text": Column("text", ("Description",)),
    "quantity": Column("number", ("Quantity",)),
    # Strays are judged over the whole file in staging, and all come with the first week.
    "event_time": Column("time", ("InvoiceDate",), unreadable_tolerated=1.0),
    "price": Column("number", ("Price", "UnitPrice")),
    "country": Column("text", ("Country",)),
}


def open_online_retail(path: Path, staging: Path, *, reading: Reading = PLAIN) -> FileSource:
    """Open the published workbook, or CSV or Parquet made of it; lines that two sheets or files share count once."""
    required = [column.published for column in COLUMNS.values()]
    files = tuple(
        stage(file, staging, required=required, time_column="InvoiceDate", reading=reading)
        for file in published_files(path, preferred="online_retail*")
    )
    return FileSource(NAME, online_retail_contract(common_date_order(files, path)), files, merge=overlaps_kept_once)


def online_retail_contract(date_order: DateOrder | None = None) -> Contract:
    """Promise the published columns; keep lines of a known customer and a product, quantity and price above zero."""
    return Contract(
        source=NAME,
        columns=COLUMNS,
        rules=row_rules({"item_id not a product code": is_product_code}, price_required=True),
        refine=name_cancellations,
        date_order=date_order,
    )


def is_product_code(item_id: pd.Series) -> pd.Series:
    """Products have five digits and perhaps letters; POST, M, D, BANK CHARGES and the like are book-keeping."""
    return item_id.str.match(r"\d{5}").fillna(False).astype(bool)


def name_cancellations(frame: pd.DataFrame) -> pd.DataFrame:
    """Lines of an invoice `C...` are returns, published with a negative quantity; the lake counts what came back."""
    cancelled = frame["invoice"].str.startswith("C").fillna(False).astype(bool)
    return frame.assign(
        event=cancelled.map({True: RETURN, False: PURCHASE}),
        quantity=frame["quantity"].where(~cancelled, -frame["quantity"]),
    )
