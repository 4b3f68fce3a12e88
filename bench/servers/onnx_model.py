"""The model behind every peer: opened alike, so that what differs is the server. Configured by BENCH_* variables."""

import os
from typing import Any

import numpy as np
import onnxruntime

BATCH = int(os.environ["BENCH_BATCH"])
WAIT_MS = int(os.environ["BENCH_WAIT_MS"])
DTYPE = np.dtype(os.environ["BENCH_DTYPE"])


class OnnxModel:
    """Rows in, rows out."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["BENCH_THREADS"])
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = os.environ["BENCH_MODEL"]
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name

    def __call__(self, rows: Any) -> Any:
        """[rows, width] numbers or array -> array of answers."""
        return self._session.run([self._output], {self._input: np.asarray(rows, DTYPE)})[0]
