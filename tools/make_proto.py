"""Turn plugins/modelapp_oip/inference.proto into the descriptors beside it: `make proto`."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "plugins" / "modelapp_oip"


def make(target: Path) -> None:
    """Write the serialised FileDescriptorSet to `target`. Raises RuntimeError where protoc fails."""
    from grpc_tools import protoc

    words = ["protoc", f"--proto_path={FOLDER}", f"--descriptor_set_out={target}", "inference.proto"]
    if protoc.main(words) != 0:
        raise RuntimeError("protoc failed; its output is above")


if __name__ == "__main__":
    make(FOLDER / "inference.binpb")
    print(f"wrote {FOLDER / 'inference.binpb'}", file=sys.stderr)
