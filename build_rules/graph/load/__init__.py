"""An ONNX as the rest of the graph room may rely on it: plain nodes in order, float, with shapes, one fixed size."""
