mu = np.mean(x, axis=0)
xmu = x - mu
var = np.mean(xmu ** 2, axis=0)
sqrtvar = np.sqrt(var + eps)
ivar = 1 / sqrtvar
xhat = xmu * ivar
out = gamma * xhat + beta
dxhat = dout * gamma
divar = np.sum(dxhat * xmu, axis=0)
dsqrtvar = -1 / sqrtvar * divar
dvar = 0.5 / sqrtvar * dsqrtvar
dxmu1 = dxhat * ivar
dxmu2 = 2 * xmu * dvar / N
dmu = -np.sum(dxmu1 + dxmu2, axis=0)
dx = dxmu1 + dxmu2 + dmu / N
