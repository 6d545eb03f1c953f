"""Sources, contracts, quarantine and the lake: how events get in, and how bad ones are kept out but never lost."""
