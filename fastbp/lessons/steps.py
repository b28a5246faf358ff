"""The code of the lessons: a comment such as ``# 1.`` begins a step, which can be pasted into a Python session.

What explains the steps stands in en/ and zh/. The last step draws the picture, and only it needs matplotlib.
"""

from __future__ import annotations


def chain_rule() -> None:
    """The price of two cars, and how it changes with each number in it."""
    # 1. Forward: a car costs 20, 2 are bought, and a tax of 10 % is added.
    from fastbp.graph import Variable

    price, number, tax = Variable(20.0, "price"), Variable(2.0, "number"), Variable(1.1, "tax")
    cost = (price * number).named("cost")
    paid = (cost * tax).named("paid")
    print(f"{price.value} -> {cost.value} -> {paid.value}")

    # 2. Backward: from the end, where the derivative is 1, each node multiplies by its local gradient.
    paid.backward()
    by_cost, by_tax = paid.local_gradients
    by_price, by_number = cost.local_gradients
    print(f"paid by cost:    1.0 x {by_cost} = {cost.grad}")
    print(f"paid by tax:     1.0 x {by_tax} = {tax.grad}")
    print(f"paid by price:   {cost.grad} x {by_price} = {price.grad}")
    print(f"paid by number:  {cost.grad} x {by_number} = {number.grad}")

    # 3. Check it: let the car cost 1 more.
    dearer = (price.value + 1) * number.value * tax.value
    print(f"{dearer:.1f} - {paid.value:.1f} = {dearer - paid.value:.1f}")

    # 4. The whole graph: values on the way forward, derivatives on the way back.
    print(paid.tree())
    from fastbp.plotting import plot_graph

    plot_graph(paid, "chain-rule.svg")


def nodes() -> None:
    """Addition and multiplication, each checked numerically."""
    # 1. Addition sends on what comes back, to both sides. A central difference says the same.
    from fastbp.graph import Variable

    x, y, h = 3.0, 4.0, 1e-5
    a, b = Variable(x, "a"), Variable(y, "b")
    (a + b).backward()
    print(f"a + b by a: {a.grad}, numerically {((x + h + y) - (x - h + y)) / (2 * h):.6f}")
    print(f"a + b by b: {b.grad}, numerically {((x + (y + h)) - (x + (y - h))) / (2 * h):.6f}")

    # 2. Multiplication sends to each side what comes back, times the other side.
    (a * b).backward()
    print(f"a b by a: {a.grad}, numerically {((x + h) * y - (x - h) * y) / (2 * h):.6f}")
    print(f"a b by b: {b.grad}, numerically {(x * (y + h) - x * (y - h)) / (2 * h):.6f}")

    # 3. A value that is used twice gets the sum of what comes back: the derivative of a b + a by a is b + 1.
    result = (a * b + a).named("result")
    result.backward()
    print(f"result {result.value}, by a: {a.grad}, by b: {b.grad}")

    # 4. A value that is broadcast is used once for each entry, so it, too, gets the sum.
    row, shift = Variable([1.0, 2.0, 3.0], "row"), Variable(10.0, "shift")
    (row * a + shift).sum().backward()
    print(f"row: {row.grad}, a: {a.grad}, shift: {shift.grad}")

    # 5. The same check for any function: `gradcheck` takes the differences at every entry.
    from fastbp import gradcheck

    result.backward()
    check = gradcheck(lambda point: point[0] * point[1] + point[0], [a.grad, b.grad], [x, y])
    print(f"passed: {bool(check)}; numerically {check.numeric.round(6)}, by the chain rule {check.analytic}")

    # 6. The graph of a b + a: below a stands what came back along both its arrows.
    print(result.tree())
    from fastbp.plotting import plot_graph

    plot_graph(result, "nodes.svg")


def layers() -> None:
    """Affine layer, ReLU, softmax with loss: every gradient beside its numeric derivative."""
    # 1. Forward: two rows of two features, three classes; the rows belong to the classes 0 and 2.
    import numpy as np

    from fastbp.graph import Variable, affine, softmax_cross_entropy
    from fastbp.numeric_gradients import numeric_gradient

    labels = [0, 2]
    X = Variable([[1.0, 2.0], [-1.0, 0.5]], "X")
    W = Variable([[0.5, -1.0, 1.0], [0.25, 1.5, -0.75]], "W")
    b = Variable([0.1, 0.2, 0.3], "b")
    H = affine(X, W, b).named("H")
    Z = H.relu().named("Z")
    loss = softmax_cross_entropy(Z, labels).named("loss")
    print(f"H =\n{H.value}\nZ =\n{Z.value}\nloss = {loss.value:.6f}")

    # 2. Backward through softmax with loss: what is predicted minus what is true, divided by the rows.
    loss.backward()
    y = np.exp(Z.value) / np.exp(Z.value).sum(axis=1, keepdims=True)
    t = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    print(f"dZ =\n{Z.grad.round(4)}\n(y - t) / 2 =\n{((y - t) / 2).round(4)}")

    # 3. Backward through ReLU: the gradient passes only where its input was above 0.
    (passes,) = Z.local_gradients
    print(f"passes where H > 0:\n{passes}\ndH =\n{H.grad.round(4)}")

    # 4. Every gradient beside the numeric one.
    def loss_of(X, W, b):
        return softmax_cross_entropy(affine(X, W, b).relu(), labels).value

    numeric = {
        "dX": numeric_gradient(lambda x: loss_of(x, W, b), X.value),
        "dW": numeric_gradient(lambda w: loss_of(X, w, b), W.value),
        "db": numeric_gradient(lambda v: loss_of(X, W, v), b.value),
        "dH": numeric_gradient(lambda h: softmax_cross_entropy(Variable(h).relu(), labels).value, H.value),
        "dZ": numeric_gradient(lambda z: softmax_cross_entropy(z, labels).value, Z.value),
    }
    for variable, (name, expected) in zip((X, W, b, H, Z), numeric.items(), strict=True):
        for entry in np.ndindex(expected.shape):
            print(f"{name}{list(entry)!s:<7}  {variable.grad[entry]:9.6f}  {expected[entry]:9.6f}")

    # 5. The graph: arrays are told by shape and norm.
    print(loss.tree())
    from fastbp.plotting import plot_graph

    plot_graph(loss, "layers.svg")


def update() -> None:
    """The gradient of L2 regularisation, and a learning rate that steps over the minimum."""
    # 1. Two weight vectors, one output. The penalty l2/2 |W|^2 prefers the even one.
    import numpy as np

    from fastbp import sgd_update
    from fastbp.graph import Variable

    x, l2 = np.array([1.0, 1.0, 1.0]), 0.1
    for weights in np.array([1.0, 0.0, 0.0]), np.array([1 / 3, 1 / 3, 1 / 3]):
        print(f"W = {weights.round(3)}: output {weights @ x:.3f}, penalty {l2 / 2 * (weights @ weights):.4f}")

    # 2. The penalty's derivative is l2 W, so the gradient becomes dW + l2 W. Here the output is right: dW is 0.
    W = Variable([1.0, 0.0, 0.0], "W")
    error = (W @ x - 1.0).named("error")
    objective = (0.5 * error * error + 0.5 * l2 * (W * W).sum()).named("objective")
    objective.backward()
    print(f"error {error.value}, dW + l2 W = {W.grad}")

    # 3. Many updates W -= learning_rate (dW + l2 W): the weight is shared out among the three inputs.
    weights = np.array([1.0, 0.0, 0.0])
    for step in range(1001):
        if step in (0, 10, 100, 1000):
            print(f"after {step:4} steps: W = {weights.round(3)}, output {weights @ x:.3f}")
        dW = (weights @ x - 1) * x
        sgd_update(weights, dW, learning_rate=0.1, l2=l2)

    # 4. The learning rate, on J(w) = w^2 with its derivative 2 w: small steps arrive, large ones jump across the
    # minimum, and beyond 1 each jump lands further away than the one before.
    paths = {}
    for rate in 0.1, 0.9, 1.05:
        w, path = np.array([1.0]), [1.0]
        for _ in range(8):
            sgd_update(w, 2 * w, learning_rate=rate)
            path.append(float(w[0]))
        paths[f"learning rate {rate}"] = path
        print(f"learning rate {rate}: {np.round(path[:5], 3)}")

    # 5. The three descents.
    from fastbp.plotting import plot_descent

    plot_descent(lambda w: w**2, paths, "update.svg")


def quadrants() -> None:
    """A two-layer network from scratch learns the four quadrants of the plane."""
    # 1. Points of the plane and the quadrant of each: 4,000 to train on, 1,000 to test on.
    import numpy as np

    import fastbp

    X, y = fastbp.datasets.quadrants(5000, seed=0)
    X_train, y_train, X_test, y_test = X[:4000], y[:4000], X[4000:], y[4000:]

    # 2. Two affine layers with a ReLU between them, 2-50-4; one step forward, back and down.
    net = fastbp.MLP((2, 50, 4), seed=0)
    (W1, W2), (b1, b2) = net.weights, net.biases

    def step(X, y, learning_rate):
        H = fastbp.affine_relu_forward(X, W1, b1)
        loss, dlogits = fastbp.softmax_cross_entropy(fastbp.affine_forward(H, W2, b2), y)
        dH, dW2, db2 = fastbp.affine_backward(dlogits, H, W2)
        _, dW1, db1 = fastbp.affine_backward(fastbp.relu_backward(dH, H), X, W1)
        for parameter, gradient in (W1, dW1), (b1, db1), (W2, dW2), (b2, db2):
            fastbp.sgd_update(parameter, gradient, learning_rate)
        return loss

    # 3. Forty epochs in minibatches of 32; the parameters after each epoch are kept.
    history, kept = fastbp.History(), [net.parameters.copy()]
    for _ in range(40):
        losses = [step(X_train[i : i + 32], y_train[i : i + 32], 0.02) for i in range(0, 4000, 32)]
        history.loss.append(float(np.mean(losses)))
        kept.append(net.parameters.copy())
    for epoch in 1, 2, 10, 40:
        print(f"epoch {epoch:2}: loss {history.loss[epoch - 1]:.4f}")
    print(f"right on unseen points: {net.score(X_test, y_test):.1%}")

    # 4. `fit` takes the same steps in one compiled pass, to the bit.
    fitted = fastbp.MLP((2, 50, 4), seed=0)
    fitted.fit(X_train, y_train, epochs=40, batch_size=32, learning_rate=0.02, shuffle=False)
    print(f"the same parameters: {np.array_equal(fitted.parameters, net.parameters)}")

    # 5. The regions as they form, and the loss.
    from fastbp.plotting import Picture, plot_decision_regions, plot_history

    picture = Picture(figsize=(9, 6), layout="constrained")
    *panels, last = picture.subplots(2, 3).flat
    for panel, epoch in zip(panels, (0, 1, 2, 10, 40), strict=True):
        net.parameters = kept[epoch]
        plot_decision_regions(net, X_test[:300], y_test[:300], axes=panel)
        panel.set_title(f"epoch {epoch}: {net.score(X_test, y_test):.1%}")
    plot_history(history, axes=last)
    picture.savefig("quadrants.svg")
