// Elementary functions of vectors. See simd_base.hpp.

/// exp(x), relative error about 1e-7. The result is 0 below -87.7, where its exponent would be
/// subnormal; x is clamped above 88.3.
PLLAVA_VECTOR VecF32 exp(VecF32 x) {
  x = max(broadcast(-88.03f), x);
  x = select(x > 88.3f, broadcast(88.3f), x);
  const VecF32 shifted = x * 1.44269504f + 12582912.0f;  // 1.5 · 2^23: rounds to an integer
  const VecF32 n = shifted - 12582912.0f;
  const VecF32 r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  VecF32 p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const VecI32 exponent = (as_i32(shifted) - 0x4b400000 + 127) << 23;
  return p * as_f32(exponent);
}

/// erf(x), absolute error about 1e-7: a series for |x| < 1, otherwise 1 - erfc(|x|) with
/// erfc(a) = t·exp(-a² + Q(t)), t = 1/(1 + a/2), Q a Chebyshev fit.
PLLAVA_VECTOR VecF32 erf(VecF32 x) {
  const VecF32 a = abs(x);
  const VecF32 s = x * x;
  VecF32 near = s * 7.853861353e-5f - 8.010193625e-4f;
  near = near * s + 5.188327685e-3f;
  near = near * s - 2.685381193e-2f;
  near = near * s + 1.128358514e-1f;
  near = near * s - 3.761262582e-1f;
  near = (near * s + 1.128379165f) * x;
  const VecF32 t = 1.0f / (a * 0.5f + 1.0f);
  VecF32 q = t * 0.17087277f - 0.82215223f;
  q = q * t + 1.48851587f;
  q = q * t - 1.13520398f;
  q = q * t + 0.27886807f;
  q = q * t - 0.18628806f;
  q = q * t + 0.09678418f;
  q = q * t + 0.37409196f;
  q = q * t + 1.00002368f;
  q = q * t - 1.26551223f;
  const VecF32 far = 1.0f - t * exp(q - s);
  return select(a < 1.0f, near, select(x < 0.0f, -far, far));
}

PLLAVA_VECTOR VecF32 apply(Activation act, VecF32 x) {
  switch (act) {
    case Activation::none: return x;
    case Activation::quick_gelu: return x / (1.0f + exp(x * -1.702f));
    case Activation::gelu_tanh: return x / (1.0f + exp(x * (x * x * -0.071354816f - 1.5957691f)));
    case Activation::silu: return x / (1.0f + exp(-x));
    case Activation::gelu: return x * 0.5f * (1.0f + erf(x * 0.70710678f));
  }
  return x;
}
