"""The trees of a version in ONNX Runtime: the same scores as XGBoost's to 1e-6, in less time for one customer or one payment.

Training and batch keep XGBoost. That both give the same scores is checked by the golden request whenever a version is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import onnxruntime
import xgboost
from onnx import TensorProto, helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, RuntimeException

from training.fraud.model import FraudModel
from training.recommender.artefact import TREES
from training.recommender.index import FloatArray
from training.recommender.ranker import Ranker

ONNX_ERRORS = (Fail, InvalidArgument, InvalidGraph, RuntimeException)

Tree = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, eq=False)
class OnnxTrees:
    """A set of trees that answers as `xgboost.Booster` does to the one call that scoring makes."""

    session: onnxruntime.InferenceSession

    def inplace_predict(self, data: FloatArray, *, predict_type: Literal["margin"]) -> FloatArray:  # noqa: ARG002
        try:
            margins: FloatArray = self.session.run(None, {"rows": data})[0][:, 0]
        except ONNX_ERRORS as error:
            raise ValueError(f"These trees cannot score rows of shape {data.shape}: {error}") from error
        return margins


def ranker_in_onnx(ranker: Ranker) -> Ranker:
    """The same ranker for serving. Raises ValueError for trees that ONNX Runtime refuses."""
    return Ranker(**cast(dict[str, Any], {name: OnnxTrees(_session(getattr(ranker, name))) for name in TREES}))


def fraud_model_in_onnx(model: FraudModel) -> FraudModel:
    """The same fraud model for serving, its calibration as it is. Raises ValueError for trees that ONNX Runtime refuses."""
    assert isinstance(model.trees, xgboost.Booster), "only what was unpacked here is served"
    return replace(model, trees=OnnxTrees(_session(model.trees)))


def _session(trees: xgboost.Booster) -> onnxruntime.InferenceSession:
    """One thread, because a worker answers one batch after the other."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(as_onnx(trees), options, providers=["CPUExecutionProvider"])
    except ONNX_ERRORS as error:
        raise ValueError(f"ONNX Runtime refuses these trees: {error}") from error


def as_onnx(trees: xgboost.Booster) -> bytes:
    """A set of trees as an ONNX TreeEnsembleRegressor that gives margins; written here, as converters know no ranking loss."""
    model = json.loads(trees.save_raw("json"))["learner"]
    grown: list[Tree] = model["gradient_booster"]["model"]["trees"]
    sizes = [len(tree["left_children"]) for tree in grown]

    def of_all(name: str) -> np.ndarray:
        return np.concatenate([np.asarray(tree[name]) for tree in grown])

    left, number = of_all("left_children"), np.repeat(np.arange(len(grown)), sizes)
    node, values, leaf = np.concatenate([np.arange(size) for size in sizes]), of_all("split_conditions"), left == -1
    attributes: dict[str, Any] = {
        "n_targets": 1,
        "base_values": [_base(model)],
        "nodes_treeids": number.tolist(),
        "nodes_nodeids": node.tolist(),
        "nodes_featureids": np.where(leaf, 0, of_all("split_indices")).tolist(),
        "nodes_values": np.where(leaf, 0.0, values).tolist(),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LT").tolist(),
        "nodes_truenodeids": np.where(leaf, 0, left).tolist(),
        "nodes_falsenodeids": np.where(leaf, 0, of_all("right_children")).tolist(),
        "nodes_missing_value_tracks_true": of_all("default_left").astype(int).tolist(),
        "target_treeids": number[leaf].tolist(),
        "target_nodeids": node[leaf].tolist(),
        "target_ids": np.zeros(int(leaf.sum()), int).tolist(),
        "target_weights": values[leaf].tolist(),
    }
    ensemble = helper.make_node("TreeEnsembleRegressor", ["rows"], ["margin"], domain="ai.onnx.ml", **attributes)
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, trees.num_features()])
    margin = helper.make_tensor_value_info("margin", TensorProto.FLOAT, [None, 1])
    graph = helper.make_graph([ensemble], "trees", [rows], [margin])
    opsets = [helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("", 18)]
    made: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    return made


def _base(model: Mapping[str, Any]) -> float:
    """The margin that all trees add to; XGBoost keeps it as a probability where the loss has one."""
    base = float(model["learner_model_param"]["base_score"].strip("[]"))
    return float(np.log(base / (1 - base))) if model["objective"]["name"] == "binary:logistic" else base
