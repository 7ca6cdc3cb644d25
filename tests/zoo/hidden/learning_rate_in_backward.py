import numpy as np

class BatchNormLayer:
    def __init__(self, size, epsilon=1e-5):
        self.gamma = np.ones((1, size))
        self.beta = np.zeros((1, size))
        self.epsilon = epsilon

    def forward(self, input_data):
        self.input = input_data
        self.mean = np.mean(input_data, axis=0, keepdims=True)
        self.variance = np.var(input_data, axis=0, keepdims=True)
        self.normalized = (input_data - self.mean) / np.sqrt(self.variance + self.epsilon)
        return self.gamma * self.normalized + self.beta

    def backward(self, output_gradient, learning_rate):
        n = self.input.shape[0]
        gamma_gradient = np.sum(output_gradient * self.normalized, axis=0, keepdims=True)
        beta_gradient = np.sum(output_gradient, axis=0, keepdims=True)
        input_gradient = (self.gamma / (n * np.sqrt(self.variance + self.epsilon))) * (
            n * output_gradient - beta_gradient - self.normalized * gamma_gradient)
        self.gamma -= learning_rate * gamma_gradient
        self.beta -= learning_rate * beta_gradient
        return input_gradient
