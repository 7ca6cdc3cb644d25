mu = x.mean(axis=0, keepdims=True)
var = ((x - mu) ** 2).mean(axis=0, keepdims=True)
std = np.sqrt(var + eps)
xh = (x - mu) / std
y = gamma * xh + beta
dbeta = dy.sum(axis=0, keepdims=True)
dgamma = (dy * xh).sum(axis=0, keepdims=True)
dxh = dy * gamma
dvar = (dxh * (x - mu)).sum(axis=0, keepdims=True) * -0.5 / std ** 3
dmu = -dxh.sum(axis=0, keepdims=True) / std - 2 * dvar * (x - mu).mean(axis=0, keepdims=True)
dx = dxh / std + 2 * dvar * (x - mu) / len(x) + dmu / len(x)
