"""A network of PyTorch in a real replica: memory that is short, faults in the app's own code, notes at the start."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modelapp.testing import AppProject

APP = """
[app]
name = "scores"
[models.net]
source = "handlers.py:Net"
files = { weights = "net.safetensors" }
runtime = "torch"
max_batch_size = 16
max_wait_ms = 20
[models.net.torch]
inputs = { x = "float32[batch, 4]" }
outputs = { y = "float32[batch]" }
[endpoints.score]
model = "net"
input = { x = { type = "tensor", dtype = "float32", shape = [4] } }
output = { y = { type = "tensor", dtype = "float32", shape = [] } }
"""
NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, x):
        if len(x) > 3:
            torch.empty(10**15)  # what no machine has
        if (x < 0).any():
            raise ValueError("a negative number")
        return self.layer(x)[:, 0]
"""


@pytest.fixture
def project(tmp_path: Path) -> AppProject:
    """The app, whose answer is the sum of its input."""
    save_file({"layer.weight": torch.ones(1, 4), "layer.bias": torch.zeros(1)}, tmp_path / "net.safetensors")
    return AppProject(tmp_path).write(APP, handlers=NET)


@pytest.mark.slow
def test_what_does_not_fit_is_answered_all_the_same(project: AppProject) -> None:
    """Requests at once, more than there is memory for in one run: each has its answer, and later runs are smaller."""
    with project.serve("--verbose") as app, ThreadPoolExecutor(24) as clients:
        eight = {"name": "x", "datatype": "FP32", "shape": [8, 4], "data": [1.0] * 32}  # one run, which cannot fit
        together = app.post("/v2/models/net/infer", {"inputs": [eight]})
        assert together.json()["outputs"][0]["data"] == [4.0] * 8
        answers = list(clients.map(lambda number: app.post("/score", {"x": [number, 1, 0, 0]}), range(96)))
        assert [answer.status for answer in answers] == [200] * 96
        assert [answer.json() for answer in answers] == [{"y": number + 1.0} for number in range(96)]
        said = app.output.stderr + app.output.stdout
    assert 'model "net" ran out of memory on' in said
    assert "from now on a run holds" in said


@pytest.mark.slow
def test_what_forward_raises_is_told_with_its_line(project: AppProject) -> None:
    """As any other code of the app's own, and its neighbours in the run are answered."""
    with project.serve() as app, ThreadPoolExecutor(2) as clients:
        bad, good = clients.map(lambda first: app.post("/score", {"x": [first, 1, 1, 1]}), (-1, 1))
        assert good.json() == {"y": 4.0}
        assert bad.status == 500
        assert "ValueError: a negative number (handlers.py:14)" in bad.json()["error"]["message"]


@pytest.mark.slow
def test_a_constructor_that_raises_ends_the_start(project: AppProject) -> None:
    """With exit code 5, the line in handlers.py, and no traceback."""
    (project.folder / "handlers.py").write_text(NET.replace("nn.Linear(4, 1)", "nn.Linear(4, 1 / 0)"))
    outcome = project.run("run", "--set", "server.port=0", timeout_s=120)
    assert outcome.exit_code == 5
    assert "ZeroDivisionError: division by zero (handlers.py:8)" in outcome.stderr
    assert "Traceback" not in outcome.stderr
