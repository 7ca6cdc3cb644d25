dbeta = np.sum(dout, axis=0)
dgamma = np.sum(dout * xhat, axis=0)
dxhat = dout * gamma
divar = np.sum(dxhat * xmu, axis=0)
dxmu1 = dxhat * ivar
dsqrtvar = -1 / sqrtvar ** 2 * divar
dvar = 0.5 / sqrtvar * dsqrtvar
dsq = np.ones((N, D)) * dvar / N
dxmu2 = xmu * dsq
dx1 = dxmu1 + dxmu2
dmu = -np.sum(dx1, axis=0)
dx = dx1 + dmu / N
