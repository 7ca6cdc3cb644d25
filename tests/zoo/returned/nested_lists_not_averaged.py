def bn_forward(X, gamma, beta, eps=1e-5):
    n, d = len(X), len(X[0])
    out = [[0.0] * d for _ in range(n)]
    xhat = [[0.0] * d for _ in range(n)]
    std = [0.0] * d
    for j in range(d):
        column = [X[i][j] for i in range(n)]
        m = sum(column) / n
        std[j] = (sum((c - m) ** 2 for c in column) / n + eps) ** 0.5
        for i in range(n):
            xhat[i][j] = (X[i][j] - m) / std[j]
            out[i][j] = gamma[j] * xhat[i][j] + beta[j]
    return out, (xhat, std, gamma)


def bn_backward(dout, cache):
    xhat, std, gamma = cache
    n, d = len(dout), len(dout[0])
    dx = [[0.0] * d for _ in range(n)]
    dgamma, dbeta = [0.0] * d, [0.0] * d
    for j in range(d):
        dbeta[j] = sum(dout[i][j] for i in range(n))
        dgamma[j] = sum(dout[i][j] * xhat[i][j] for i in range(n))
        for i in range(n):
            dx[i][j] = gamma[j] / std[j] * (dout[i][j] - dbeta[j] - xhat[i][j] * dgamma[j] / n)
    return dx, dgamma, dbeta
