s = x.sum(axis=0)
m = s / N
c = x - m
q = c * c
v = q.sum(axis=0) / N
r = (v + eps) ** 0.5
h = c / r
out = h * gamma + beta
dh = dout * gamma
dr = -(dh * c / r / r).sum(axis=0)
dv = dr / 2 / r
dq = dv / N
dc = dh / r + 2 * c * dq
dm = -dc.sum(axis=0)
ds = dm / N
dx = dc + ds
