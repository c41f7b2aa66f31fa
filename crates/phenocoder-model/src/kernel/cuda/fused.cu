// Kernels of `cuda.rs`, compiled when the program runs. All take the same arguments:
//
//   a, b   n values each           c   m values
//   out    m values where a sum is made (cross_entropy, divergence), else n
//   p…s    numbers of the kernel
//
// A sum leaves one partial sum per thread, m of them: thread j adds the values j, j + m, j + 2 m, … in this order, so the
// same bits come out on every run.

#define ARGUMENTS                                                                                             \
    const float *a, const float *b, const float *c, float *out, unsigned n, unsigned m, float p, float q, float r, \
        float s
#define EACH(i, count) \
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < (count); i += gridDim.x * blockDim.x)

// max(x, 0) − x·t + ln(1 + e^−|x|); a comparison, because fmaxf(NaN, 0) is 0.
extern "C" __global__ void cross_entropy(ARGUMENTS) {
    EACH(j, m) {
        float sum = 0;
        for (unsigned i = j; i < n; i += m) {
            float x = a[i];
            sum += (x < 0 ? 0 : x) - x * b[i] + log1pf(expf(-fabsf(x)));
        }
        out[j] = sum;
    }
}

extern "C" __global__ void cross_entropy_gradient(ARGUMENTS) {
    EACH(i, n) out[i] = (1 / (1 + expf(-a[i])) - b[i]) * c[i % m];
}

// ½ (e^ks − 1 − ks + μ²), p = k.
extern "C" __global__ void divergence(ARGUMENTS) {
    EACH(j, m) {
        float sum = 0;
        for (unsigned i = j; i < n; i += m) {
            float ks = p * b[i];
            sum += 0.5f * (expm1f(ks) - ks + a[i] * a[i]);
        }
        out[j] = sum;
    }
}

extern "C" __global__ void divergence_gradient_mean(ARGUMENTS) {
    EACH(i, n) out[i] = a[i] * c[i % m];
}

extern "C" __global__ void divergence_gradient_log_var(ARGUMENTS) {
    EACH(i, n) out[i] = 0.5f * p * expm1f(p * b[i]) * c[i % m];
}

// c holds a bias per channel, the last axis.
extern "C" __global__ void bias_relu(ARGUMENTS) {
    EACH(i, n) {
        float x = a[i] + c[i % m];
        out[i] = x < 0 ? 0 : x;
    }
}

// b is what came out of the layer.
extern "C" __global__ void relu_gradient(ARGUMENTS) {
    EACH(i, n) out[i] = b[i] <= 0 ? 0 : a[i];
}

// A moment a, a gradient b and a weight c: p is the part of the new, q the decay that joins the gradient, r = 2 squares.
extern "C" __global__ void adam_moment(ARGUMENTS) {
    EACH(i, n) {
        float g = b[i] + q * c[i];
        out[i] = a[i] + ((r == 2 ? g * g : g) - a[i]) * p;
    }
}

// A weight a with its moments b and c: p is the rate, q scales the root, r is ε, s the decay of the weight.
extern "C" __global__ void adam_weight(ARGUMENTS) {
    EACH(i, n) out[i] = a[i] - (s * a[i] + p * b[i] / (sqrtf(c[i]) * q + r));
}
