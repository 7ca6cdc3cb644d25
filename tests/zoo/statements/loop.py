dx = dout * gamma
for row in dx:
    row -= row.mean()
