"""The chain rule, node by node: variables over numbers and arrays, the graph of operations on them, and the way back.

    price, number, tax = Variable(20.0, "price"), Variable(2.0, "number"), Variable(1.1, "tax")
    paid = price * number * tax
    paid.backward()
    price.grad  # 2.2: what is paid changes by 2.2 for every 1 that the price changes

Each operation keeps its operands, the factor that the chain rule multiplies by for each of them, and how it sends a
gradient back; `Variable.backward` walks the graph from its end and adds up what arrives at every variable. Operations
with a kernel (affine layers, matrix products, ReLU, softmax with loss) call the kernel that trains networks, so a
network built of these nodes has the same gradients as `MLP.gradient`, to the bit.
"""

from .layers import affine, softmax_cross_entropy
from .values import summary
from .variable import Variable, derivative, ordered

__all__ = ["Variable", "affine", "derivative", "ordered", "softmax_cross_entropy", "summary"]
