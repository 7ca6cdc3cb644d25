import numpy as np

class BNLayer:
    def __init__(self, D, epsilon=1e-7):
        self.gamma = np.ones((1, D))
        self.beta = np.zeros((1, D))
        self.epsilon = epsilon

    def forward(self, H):
        self.H = H
        self.mu_B = np.mean(H, axis=0, keepdims=True)
        self.sigma_B2 = np.mean((H - self.mu_B) ** 2, axis=0, keepdims=True)
        self.H_hat = (H - self.mu_B) / np.sqrt(self.sigma_B2 + self.epsilon)
        return self.gamma * self.H_hat + self.beta

    def backward(self, dL):
        B = self.H.shape[0]
        dgamma = np.sum(dL * self.H_hat, axis=0, keepdims=True)
        dbeta = np.sum(dL, axis=0, keepdims=True)
        dH_hat = dL * self.gamma
        dsigma = np.sum(dH_hat * (self.H - self.mu_B), axis=0, keepdims=True) * -0.5 * (self.sigma_B2 + self.epsilon) ** (-1.5)
        dmu = np.sum(-dH_hat / np.sqrt(self.sigma_B2 + self.epsilon), axis=0, keepdims=True)
        dH = dH_hat / np.sqrt(self.sigma_B2 + self.epsilon) + dsigma * 2 * (self.H - self.mu_B) / B + dmu / B
        return dH, dbeta, dgamma
