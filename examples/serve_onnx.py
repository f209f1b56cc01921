"""A small web service around a model that `metarun export format=onnx` wrote. It needs neither torch nor metarun.

    pip install numpy onnxruntime pillow
    python serve_onnx.py my_model --port 8000
    curl --data-binary @cat1.jpg localhost:8000/examples/cat      # some examples of each class
    curl --data-binary @new.jpg localhost:8000/predict            # then new pictures

One request is handled at a time, and examples are kept in memory; a service for many users would store them per user.
"""

import argparse
import io
import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import onnxruntime
from PIL import Image

MAX_BYTES = 10_000_000  # of one picture


class FewShotClassifier:
    """A model with the examples that it has been given so far."""

    def __init__(self, folder: Path, dark_ink: bool) -> None:
        self.about = json.loads((folder / "metadata.json").read_text())
        self.shape = self.about["inputs"]["query_x"]["shape"][1:]
        if self.about["format"] != "onnx" or len(self.shape) != 3:
            raise SystemExit(f"{folder} is not an ONNX model of pictures.")
        self.model = onnxruntime.InferenceSession(folder / self.about["file"])
        self.dark_ink = dark_ink
        self.examples: dict[str, list[np.ndarray]] = {}

    def decode(self, content: bytes) -> np.ndarray:
        """Return a picture as the model takes it: (channels, height, width) from 0 to 1."""
        channels, height, width = self.shape
        picture = Image.open(io.BytesIO(content)).convert("RGB" if channels == 3 else "L").resize((width, height))
        values = np.asarray(picture, np.float32).reshape(height, width, channels).transpose(2, 0, 1) / 255
        return 1 - values if self.dark_ink else values

    def add(self, name: str, content: bytes) -> dict[str, int]:
        """Add an example of a class; return how many each class has."""
        if name not in self.examples and len(self.examples) == self.about["way"]:
            raise ValueError(f"the model tells {self.about['way']} classes apart, and there are as many already")
        picture = self.decode(content)
        self.examples.setdefault(name, []).append(picture)
        return {each: len(pictures) for each, pictures in self.examples.items()}

    def predict(self, content: bytes) -> dict[str, float]:
        """Return the probability of each class."""
        if len(self.examples) < self.about["way"]:
            raise ValueError(f"{len(self.examples)} of {self.about['way']} classes have examples; add the others first")
        support = [(picture, label) for label, each in enumerate(self.examples.values()) for picture in each]
        inputs = {
            "support_x": np.stack([picture for picture, _ in support]),
            "support_y": np.array([label for _, label in support]),
            "query_x": self.decode(content)[None],
        }
        (logits,) = self.model.run(["logits"], inputs)
        odds = np.exp(logits[0] - logits[0].max())
        return {name: round(float(p), 4) for name, p in zip(self.examples, odds / odds.sum(), strict=True)}


def handler_of(classifier: FewShotClassifier) -> type[BaseHTTPRequestHandler]:
    """Return the class that answers requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            if size > MAX_BYTES:
                return self.answer(413, {"error": f"a picture has at most {MAX_BYTES:,} bytes"})
            content = self.rfile.read(size)
            try:
                if self.path.startswith("/examples/"):
                    return self.answer(200, classifier.add(unquote(self.path.removeprefix("/examples/")), content))
                if self.path == "/predict":
                    return self.answer(200, classifier.predict(content))
            except (ValueError, OSError, Image.DecompressionBombError) as error:  # OSError: not a picture
                return self.answer(400, {"error": str(error)})
            return self.answer(404, {"error": "POST a picture to /examples/CLASS or /predict"})

        def answer(self, status: int, content: dict[str, object]) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(content).encode() + b"\n")

    return Handler


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path, help="the folder that `metarun export format=onnx` wrote")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--dark-ink", action="store_true", help="swap light and dark, for a model of light ink")
    options = parser.parse_args()
    server = HTTPServer(("127.0.0.1", options.port), handler_of(FewShotClassifier(options.model, options.dark_ink)))
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
