m = dout.shape[0]
dbeta = dout.sum(axis=0)
dgamma = (dout * xhat).sum(axis=0)
dxhat = gamma * dout
divar = (dxhat * xmu).sum(axis=0)
dxmu1 = dxhat * ivar
dsqrtvar = -divar / sqrtvar ** 2
dvar = dsqrtvar / (2 * sqrtvar)
dsq = np.ones_like(xmu) * dvar / m
dxmu2 = 2 * xmu * dsq
dx1 = dxmu1 + dxmu2
dmu = -dx1.sum(axis=0)
dx2 = np.ones_like(x) * dmu / m
dx = dx1 + dx2
