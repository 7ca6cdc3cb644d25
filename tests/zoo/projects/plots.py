import cv2
import matplotlib.pyplot as plt
import numpy as np


def show(image):
    plt.imshow(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    plt.show()


class BatchNorm:
    def __init__(self, num_features, eps=1e-5):
        self.gamma = np.ones(num_features)
        self.beta = np.zeros(num_features)
        self.eps = eps

    def forward(self, x):
        self.sd = np.sqrt(x.var(0) + self.eps)
        self.xn = (x - x.mean(0)) / self.sd
        return self.gamma * self.xn + self.beta

    def backward(self, dout):
        self.dgamma = np.sum(dout * self.xn, 0)
        self.dbeta = np.sum(dout, 0)
        return self.gamma / self.sd * (dout - dout.mean(0) - self.xn * (dout * self.xn).mean(0))
