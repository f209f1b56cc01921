// Normalise by batch statistics, 2x2 max-pooling or none, leaky ReLU: values, gradients, and gradients of the gradients.
//
// Maps are (n, c, h, w), dense, with either the channels or the positions innermost ("last" or "first"). A code per
// output says which of the four inputs of its window is the largest (0 to 3; 0 without pooling), plus 4 where it is not
// positive. Every sum is over a fixed partition, so results do not depend on the number of threads. With h the maps
// before scale and shift, r = 1 / standard deviation, m positions per channel, g the gradient with respect to the
// normalised maps (from the outputs by code), the gradients are (see metarun/backbones/batch_norm.py):
//
//     of x: scale r (g - sum(g) / m - h sum(g h) / m),    of scale: sum(g h),    of shift: sum(g)
//
// Scales and shifts that are given, per image and channel, are the same with mean 0, r = 1 and m infinite.

#include <cmath>
#include <cstdint>
#include <cstdlib>

namespace {

typedef int64_t Size;
const Size CHUNK = 64;  // positions whose sums are kept in the maps' own precision

struct Shape {
    Size n, c, h, w;
    bool given = false;  // scale and shift do not depend on the maps
    Size tasks = 1;      // of n images each
    Shape of_one() const { return Shape{n, c, h, w, given}; }
    Size size() const { return n * c * h * w; }
    template <bool POOL> Size outputs() const { return POOL ? n * c * (h / 2) * (w / 2) : size(); }
    Size positions() const { return h * w; }
    double count() const { return given ? INFINITY : double(n) * double(h * w); }
};

struct Buffer {  // zeroed numbers
    double* of;
    explicit Buffer(Size size) : of(static_cast<double*>(std::calloc(size, sizeof(double)))) {}
    ~Buffer() { std::free(of); }
    Buffer(const Buffer&) = delete;
};

template <class T> inline T factor(int code, T slope) { return code < 4 ? T(1) : slope; }

template <class T> inline T picked(int code, T a, T b, T c, T d) {
    int k = code & 3;
    T low = k == 0 ? a : b, high = k == 2 ? c : d;
    return k < 2 ? low : high;
}

template <class T> inline int choose(T z0, T z1, T z2, T z3, T& best) {  // as torch: the first of equals, or a NaN
    int k = 0;
    best = z0;
    bool better = (z1 > best) | (z1 != z1);
    best = better ? z1 : best; k = better ? 1 : k;
    better = (z2 > best) | (z2 != z2);
    best = better ? z2 : best; k = better ? 2 : k;
    better = (z3 > best) | (z3 != z3);
    best = better ? z3 : best; k = better ? 3 : k;
    return k;
}

// Sums per channel over all images of terms that `row` adds to (sums, channels last) for each image.
template <class Body> void over_images(const Shape& s, int sums, double* total, int threads, Body body) {
    Buffer each(s.n * sums * s.c);
    double* of = each.of;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (Size n = 0; n < s.n; n++) body(n, of + n * sums * s.c);
    for (Size n = 0; n < s.n; n++)
        for (Size i = 0; i < sums * s.c; i++) total[i] += of[n * sums * s.c + i];
}

template <class T> void moments_last(const T* x, const Shape& s, double* total, int threads) {
    const Size C = s.c;
    over_images(s, 2, total, threads, [=](Size n, double* mine) {
        Buffer room(2 * C);
        T* __restrict sum = reinterpret_cast<T*>(room.of);
        T* __restrict square = sum + C;
        const T* __restrict shift = x;
        const T* __restrict image = x + n * s.positions() * C;
        for (Size begin = 0; begin < s.positions(); begin += CHUNK) {
            Size end = begin + CHUNK < s.positions() ? begin + CHUNK : s.positions();
            for (Size c = 0; c < C; c++) sum[c] = square[c] = 0;
            for (Size p = begin; p < end; p++) {
                const T* __restrict at = image + p * C;
                for (Size c = 0; c < C; c++) {
                    T d = at[c] - shift[c];
                    sum[c] += d;
                    square[c] += d * d;
                }
            }
            for (Size c = 0; c < C; c++) { mine[c] += sum[c]; mine[C + c] += square[c]; }
        }
    });
}

template <class T> void moments_first(const T* x, const Shape& s, double* total, int threads) {
    const Size C = s.c;
    Size size = s.positions();
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (Size c = 0; c < C; c++) {
        T shift = x[c * size];
        double sum = 0, square = 0;
        for (Size n = 0; n < s.n; n++) {
            const T* __restrict plane = x + (n * C + c) * size;
            for (Size begin = 0; begin < size; begin += 16 * CHUNK) {
                Size end = begin + 16 * CHUNK < size ? begin + 16 * CHUNK : size;
                T part = 0, squares = 0;
#pragma omp simd reduction(+ : part, squares)
                for (Size p = begin; p < end; p++) {
                    T d = plane[p] - shift;
                    part += d;
                    squares += d * d;
                }
                sum += part;
                square += squares;
            }
        }
        total[c] = sum;
        total[C + c] = square;
    }
}

template <class T, bool POOL>
void apply_last(const T* x, const T* __restrict al, const T* __restrict be, T slope, const Shape& s, T* y, uint8_t* code,
                int threads) {
    const Size C = s.c, H = s.h, W = s.w;
    const Size oh = POOL ? H / 2 : H, ow = POOL ? W / 2 : W;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (Size row = 0; row < s.n * oh; row++) {
        Size n = row / oh, i = row % oh;
        for (Size j = 0; j < ow; j++) {
            T* __restrict out = y + (row * ow + j) * C;
            uint8_t* __restrict codes = code + (row * ow + j) * C;
            if (POOL) {
                const T* __restrict a = x + ((n * H + 2 * i) * W + 2 * j) * C;
                const T* __restrict b = a + C;
                const T* __restrict c2 = a + W * C;
                const T* __restrict d = c2 + C;
#pragma omp simd
                for (Size c = 0; c < C; c++) {
                    T best;
                    int k = choose(a[c] * al[c] + be[c], b[c] * al[c] + be[c], c2[c] * al[c] + be[c],
                                   d[c] * al[c] + be[c], best);
                    out[c] = best > 0 ? best : best * slope + T(0);
                    codes[c] = uint8_t(best > 0 ? k : k + 4);
                }
            } else {
                const T* __restrict a = x + (row * W + j) * C;
#pragma omp simd
                for (Size c = 0; c < C; c++) {
                    T z = a[c] * al[c] + be[c];
                    out[c] = z > 0 ? z : z * slope + T(0);
                    codes[c] = uint8_t(z > 0 ? 0 : 4);
                }
            }
        }
    }
}

template <class T, bool POOL>
void apply_first(const T* x, const T* al, const T* be, T slope, const Shape& s, T* y, uint8_t* code, int threads) {
    const Size C = s.c, H = s.h, W = s.w;
    const Size oh = POOL ? H / 2 : H, ow = POOL ? W / 2 : W;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (Size plane = 0; plane < s.n * C; plane++) {
        const T alpha = al[plane % C], beta = be[plane % C];
        const T* image = x + plane * s.positions();
        T* __restrict out = y + plane * oh * ow;
        uint8_t* __restrict codes = code + plane * oh * ow;
        if (POOL) {
            for (Size i = 0; i < oh; i++) {
                const T* __restrict a = image + 2 * i * W;
                const T* __restrict b = a + W;
                for (Size j = 0; j < ow; j++) {
                    T best;
                    int k = choose(a[2 * j] * alpha + beta, a[2 * j + 1] * alpha + beta, b[2 * j] * alpha + beta,
                                   b[2 * j + 1] * alpha + beta, best);
                    out[i * ow + j] = best > 0 ? best : best * slope + T(0);
                    codes[i * ow + j] = uint8_t(best > 0 ? k : k + 4);
                }
            }
        } else {
            const T* __restrict a = image;
            for (Size p = 0; p < oh * ow; p++) {
                T z = a[p] * alpha + beta;
                out[p] = z > 0 ? z : z * slope + T(0);
                codes[p] = uint8_t(z > 0 ? 0 : 4);
            }
        }
    }
}

// Sums over the outputs, per channel: of g, and of g (x - mean), g being the gradient by code.
template <class T, bool POOL>
void sums_last(const T* gy, const T* x, const uint8_t* code, const T* __restrict mean, T slope, const Shape& s,
               double* total, int threads) {
    const Size C = s.c, H = s.h, W = s.w;
    const Size oh = POOL ? H / 2 : H, ow = POOL ? W / 2 : W;
    over_images(s, 2, total, threads, [=](Size n, double* mine) {
        Buffer room(2 * C);
        T* __restrict sum = reinterpret_cast<T*>(room.of);
        T* __restrict product = sum + C;
        for (Size i = 0; i < oh; i++) {
            for (Size c = 0; c < C; c++) sum[c] = product[c] = 0;
            for (Size j = 0; j < ow; j++) {
                Size at = ((n * oh + i) * ow + j) * C;
                const T* __restrict g = gy + at;
                const uint8_t* __restrict k = code + at;
                const T* __restrict a = x + (POOL ? ((n * H + 2 * i) * W + 2 * j) * C : at);
                const T* __restrict b = a + C;
                const T* __restrict c2 = a + W * C;
                const T* __restrict d = c2 + C;
                for (Size c = 0; c < C; c++) {
                    T gz = g[c] * factor<T>(k[c], slope);
                    T value = POOL ? picked<T>(k[c], a[c], b[c], c2[c], d[c]) : a[c];
                    sum[c] += gz;
                    product[c] += gz * (value - mean[c]);
                }
            }
            for (Size c = 0; c < C; c++) { mine[c] += sum[c]; mine[C + c] += product[c]; }
        }
    });
}

template <class T, bool POOL>
void sums_first(const T* gy, const T* x, const uint8_t* code, const T* mean, T slope, const Shape& s, double* total,
                int threads) {
    const Size C = s.c, H = s.h, W = s.w;
    const Size oh = POOL ? H / 2 : H, ow = POOL ? W / 2 : W, step = POOL ? 1 : oh, length = POOL ? ow : oh * ow;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (Size c = 0; c < C; c++) {
        double sum = 0, product = 0;
        const T centre = mean[c];
        for (Size n = 0; n < s.n; n++) {
            Size plane = n * C + c;
            for (Size i = 0; i < oh; i += step) {
                const T* __restrict g = gy + (plane * oh + i) * ow;
                const uint8_t* __restrict k = code + (plane * oh + i) * ow;
                const T* __restrict a = x + (plane * H + (POOL ? 2 * i : i)) * W;
                const T* __restrict b = a + W;
                T part = 0, products = 0;
#pragma omp simd reduction(+ : part, products)
                for (Size j = 0; j < length; j++) {
                    T gz = g[j] * factor<T>(k[j], slope);
                    T value = POOL ? picked<T>(k[j], a[2 * j], a[2 * j + 1], b[2 * j], b[2 * j + 1]) : a[j];
                    part += gz;
                    products += gz * (value - centre);
                }
                sum += part;
                product += products;
            }
        }
        total[c] = sum;
        total[C + c] = product;
    }
}

// Sums per channel: of u, of u (x - mean), and over the outputs of u times g.
template <class T, bool POOL>
void second_sums_last(const T* u, const T* gy, const T* x, const uint8_t* code, const T* __restrict mean, T slope,
                      const Shape& s, double* total, int threads) {
    const Size C = s.c, H = s.h, W = s.w;
    const Size oh = POOL ? H / 2 : H, ow = POOL ? W / 2 : W;
    over_images(s, 3, total, threads, [=](Size n, double* mine) {
        Buffer room(3 * C);
        T* __restrict sum = reinterpret_cast<T*>(room.of);
        T* __restrict product = sum + C;
        T* __restrict both = product + C;
        for (Size i = 0; i < H; i++) {
            for (Size c = 0; c < 3 * C; c++) sum[c] = 0;
            for (Size p = 0; p < W; p++) {
                Size at = ((n * H + i) * W + p) * C;
                const T* __restrict v = u + at;
                const T* __restrict a = x + at;
                for (Size c = 0; c < C; c++) {
                    sum[c] += v[c];
                    product[c] += v[c] * (a[c] - mean[c]);
                }
            }
            if (!POOL || (i % 2 == 1))
                for (Size j = 0; j < ow; j++) {
                    Size at = ((n * oh + (POOL ? i / 2 : i)) * ow + j) * C;
                    const T* __restrict g = gy + at;
                    const uint8_t* __restrict k = code + at;
                    const T* __restrict a = u + (POOL ? ((n * H + i - 1) * W + 2 * j) * C : at);
                    const T* __restrict b = a + C;
                    const T* __restrict c2 = a + W * C;
                    const T* __restrict d = c2 + C;
                    for (Size c = 0; c < C; c++) {
                        T value = POOL ? picked<T>(k[c], a[c], b[c], c2[c], d[c]) : a[c];
                        both[c] += g[c] * factor<T>(k[c], slope) * value;
                    }
                }
            for (Size c = 0; c < C; c++) {
                mine[c] += sum[c];
                mine[C + c] += product[c];
                mine[2 * C + c] += both[c];
            }
        }
    });
}

template <class T, bool POOL>
void second_sums_first(const T* u, const T* gy, const T* x, const uint8_t* code, const T* mean, T slope, const Shape& s,
                       double* total, int threads) {
    const Size C = s.c, H = s.h, W = s.w;
    const Size oh = POOL ? H / 2 : H, ow = POOL ? W / 2 : W, step = POOL ? 1 : oh, length = POOL ? ow : oh * ow;
    const Size size = s.positions();
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (Size c = 0; c < C; c++) {
        double sum = 0, product = 0, both = 0;
        const T centre = mean[c];
        for (Size n = 0; n < s.n; n++) {
            Size plane = n * C + c;
            const T* __restrict v = u + plane * size;
            const T* __restrict xs = x + plane * size;
            T part = 0, products = 0;
#pragma omp simd reduction(+ : part, products)
            for (Size p = 0; p < size; p++) {
                part += v[p];
                products += v[p] * (xs[p] - centre);
            }
            sum += part;
            product += products;
            for (Size i = 0; i < oh; i += step) {
                const T* __restrict g = gy + (plane * oh + i) * ow;
                const uint8_t* __restrict k = code + (plane * oh + i) * ow;
                const T* __restrict a = u + (plane * H + (POOL ? 2 * i : i)) * W;
                const T* __restrict b = a + W;
                T part_of_both = 0;
#pragma omp simd reduction(+ : part_of_both)
                for (Size j = 0; j < length; j++) {
                    T value = POOL ? picked<T>(k[j], a[2 * j], a[2 * j + 1], b[2 * j], b[2 * j + 1]) : a[j];
                    part_of_both += g[j] * factor<T>(k[j], slope) * value;
                }
                both += part_of_both;
            }
        }
        total[c] = sum;
        total[C + c] = product;
        total[2 * C + c] = both;
    }
}

// out = p x + q g + r u + t per channel, g being the gradient by code; and, if to_gy is given, the gradient with
// respect to gy: by code, v x + w u + z. Without u, r and w are not used.
template <class T> struct Coefficients { const T *p, *q, *r, *t, *v, *w, *z; };

template <class T, bool POOL, bool SECOND>
void combine_last(const T* gy, const T* x, const T* u, const uint8_t* code, const Coefficients<T>& f, T slope,
                  const Shape& s, T* out, T* to_gy, int threads) {
    const Size C = s.c, H = s.h, W = s.w;
    const Size oh = POOL ? H / 2 : H, ow = POOL ? W / 2 : W;
    const Size rows = POOL ? (H + 1) / 2 : H;
    const T *__restrict P = f.p, *__restrict Q = f.q, *__restrict R = f.r, *__restrict S = f.t;
    const T *__restrict V = f.v, *__restrict U = f.w, *__restrict Z = f.z;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (Size row = 0; row < s.n * rows; row++) {
        const Size n = row / rows, i = row % rows;
        const Size top = (n * H + (POOL ? 2 * i : i)) * W * C;
        const bool whole = !POOL || i < oh;
        if (whole)
            for (Size j = 0; j < ow; j++) {
                Size at = ((n * oh + i) * ow + j) * C, in = POOL ? top + 2 * j * C : at;
                const T* __restrict g = gy + at;
                const uint8_t* __restrict k = code + at;
                const T *__restrict x0 = x + in, *__restrict x1 = x0 + C, *__restrict x2 = x0 + W * C,
                        *__restrict x3 = x2 + C;
                const T *__restrict u0 = SECOND ? u + in : nullptr, *__restrict u1 = SECOND ? u0 + C : nullptr,
                        *__restrict u2 = SECOND ? u0 + W * C : nullptr, *__restrict u3 = SECOND ? u2 + C : nullptr;
                T *__restrict o0 = out + in, *__restrict o1 = o0 + C, *__restrict o2 = o0 + W * C,
                  *__restrict o3 = o2 + C;
                T* __restrict back = SECOND ? to_gy + at : nullptr;
#pragma omp simd
                for (Size c = 0; c < C; c++) {
                    const int code_of = k[c], which = code_of & 3;
                    const T scale = factor<T>(code_of, slope), gz = Q[c] * (g[c] * scale);
                    if (POOL) {
                        T a = P[c] * x0[c] + S[c], b = P[c] * x1[c] + S[c], d = P[c] * x2[c] + S[c],
                          e = P[c] * x3[c] + S[c];
                        if (SECOND) { a += R[c] * u0[c]; b += R[c] * u1[c]; d += R[c] * u2[c]; e += R[c] * u3[c]; }
                        o0[c] = a + (which == 0 ? gz : T(0));
                        o1[c] = b + (which == 1 ? gz : T(0));
                        o2[c] = d + (which == 2 ? gz : T(0));
                        o3[c] = e + (which == 3 ? gz : T(0));
                        if (SECOND)
                            back[c] = scale * (V[c] * picked<T>(code_of, x0[c], x1[c], x2[c], x3[c]) + Z[c] +
                                               U[c] * picked<T>(code_of, u0[c], u1[c], u2[c], u3[c]));
                    } else {
                        T a = P[c] * x0[c] + S[c] + gz;
                        if (SECOND) {
                            a += R[c] * u0[c];
                            back[c] = scale * (V[c] * x0[c] + U[c] * u0[c] + Z[c]);
                        }
                        o0[c] = a;
                    }
                }
            }
        if (!POOL) continue;
        // Positions in no window: the last column or row of odd maps.
        for (Size half = 0; half < (2 * i + 1 < H ? 2 : 1); half++)
            for (Size p = whole ? 2 * ow : 0; p < W; p++) {
                Size in = top + (half * W + p) * C;
                for (Size c = 0; c < C; c++)
                    out[in + c] = P[c] * x[in + c] + S[c] + (SECOND ? R[c] * u[in + c] : T(0));
            }
    }
}

template <class T, bool POOL, bool SECOND>
void combine_first(const T* gy, const T* x, const T* u, const uint8_t* code, const Coefficients<T>& f, T slope,
                   const Shape& s, T* out, T* to_gy, int threads) {
    const Size C = s.c, H = s.h, W = s.w;
    const Size oh = POOL ? H / 2 : H, ow = POOL ? W / 2 : W;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (Size plane = 0; plane < s.n * C; plane++) {
        const Size c = plane % C, in = plane * s.positions();
        const T P = f.p[c], Q = f.q[c], S = f.t[c], R = SECOND ? f.r[c] : T(0), V = SECOND ? f.v[c] : T(0),
                U = SECOND ? f.w[c] : T(0), Z = SECOND ? f.z[c] : T(0);
        if (!POOL) {
            const T *__restrict g = gy + in, *__restrict xs = x + in, *__restrict us = SECOND ? u + in : nullptr;
            const uint8_t* __restrict k = code + in;
            T *__restrict o = out + in, *__restrict back = SECOND ? to_gy + in : nullptr;
            for (Size p = 0; p < s.positions(); p++) {
                const T scale = factor<T>(k[p], slope);
                T a = P * xs[p] + S + Q * (g[p] * scale);
                if (SECOND) {
                    a += R * us[p];
                    back[p] = scale * (V * xs[p] + U * us[p] + Z);
                }
                o[p] = a;
            }
            continue;
        }
        for (Size i = 0; i < H; i++) {
            const Size row = in + i * W;
            const bool whole = i / 2 < oh;
            const T* __restrict xs = x + row;
            const T* __restrict us = SECOND ? u + row : nullptr;
            T* __restrict o = out + row;
            const T* __restrict g = gy + (plane * oh + i / 2) * ow;
            const uint8_t* __restrict k = code + (plane * oh + i / 2) * ow;
            const int left = 2 * (i % 2);
            if (whole)
                for (Size j = 0; j < ow; j++) {
                    const int which = k[j] & 3;
                    const T gz = Q * (g[j] * factor<T>(k[j], slope));
                    T a = P * xs[2 * j] + S, b = P * xs[2 * j + 1] + S;
                    if (SECOND) { a += R * us[2 * j]; b += R * us[2 * j + 1]; }
                    o[2 * j] = a + (which == left ? gz : T(0));
                    o[2 * j + 1] = b + (which == left + 1 ? gz : T(0));
                }
            for (Size p = whole ? 2 * ow : 0; p < W; p++) o[p] = P * xs[p] + S + (SECOND ? R * us[p] : T(0));
            if (SECOND && whole && i % 2 == 1) {
                T* __restrict back = to_gy + (plane * oh + i / 2) * ow;
                const T *__restrict x0 = xs - W, *__restrict u0 = us - W;
                for (Size j = 0; j < ow; j++)
                    back[j] = factor<T>(k[j], slope) *
                              (V * picked<T>(k[j], x0[2 * j], x0[2 * j + 1], xs[2 * j], xs[2 * j + 1]) + Z +
                               U * picked<T>(k[j], u0[2 * j], u0[2 * j + 1], us[2 * j], us[2 * j + 1]));
            }
        }
    }
}

template <class T> void moments(const T* x, const Shape& s, bool last, T* mean, double* variance, int threads) {
    Buffer sums(2 * s.c);
    (last ? moments_last<T> : moments_first<T>)(x, s, sums.of, threads);
    for (Size c = 0; c < s.c; c++) {
        const double offset = sums.of[c] / s.count(), spread = sums.of[s.c + c] / s.count() - offset * offset;
        mean[c] = T((last ? x[c] : x[c * s.positions()]) + offset);
        variance[c] = spread > 0 || spread != spread ? spread : 0;
    }
}

// In parallel: images, or tasks, each by itself.
template <class Body> void each_one(Size count, int threads, Body body) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (Size i = 0; i < count; i++) body(i);
}

template <class T, bool POOL>
void forward(const T* x, const T* scale, const T* shift, double epsilon, double slope, const Shape& s, bool last, T* y,
             uint8_t* code, T* mean, T* inverse, int threads) {
    if (s.tasks > 1) {
        const Size in = s.size(), out = s.outputs<POOL>(), c = s.c;
        return each_one(s.tasks, threads, [=](Size k) {
            forward<T, POOL>(x + k * in, scale + k * c, shift + k * c, epsilon, slope, s.of_one(), last, y + k * out,
                             code + k * out, mean + k * c, inverse + k * c, 1);
        });
    }
    Buffer variance(s.c), room(2 * s.c);
    moments<T>(x, s, last, mean, variance.of, threads);
    T *alpha = reinterpret_cast<T*>(room.of), *beta = alpha + s.c;
    for (Size c = 0; c < s.c; c++) {
        inverse[c] = T(1 / std::sqrt(variance.of[c] + epsilon));
        alpha[c] = inverse[c] * scale[c];
        beta[c] = shift[c] - mean[c] * alpha[c];
    }
    (last ? apply_last<T, POOL> : apply_first<T, POOL>)(x, alpha, beta, T(slope), s, y, code, threads);
}

template <class T, bool POOL>
void backward(const T* gy, const T* x, const uint8_t* code, const T* scale, const T* mean, const T* inverse, double slope,
              const Shape& s, bool last, T* to_x, T* to_scale, T* to_shift, int threads) {
    if (s.tasks > 1) {
        const Size in = s.size(), out = s.outputs<POOL>(), c = s.c;
        return each_one(s.tasks, threads, [=](Size k) {
            backward<T, POOL>(gy + k * out, x + k * in, code + k * out, scale + k * c, mean + k * c, inverse + k * c, slope,
                              s.of_one(), last, to_x + k * in, to_scale + k * c, to_shift + k * c, 1);
        });
    }
    Buffer sums(2 * s.c), room(3 * s.c);
    (last ? sums_last<T, POOL> : sums_first<T, POOL>)(gy, x, code, mean, T(slope), s, sums.of, threads);
    T *p = reinterpret_cast<T*>(room.of), *q = p + s.c, *t = q + s.c;
    for (Size c = 0; c < s.c; c++) {
        const double r = inverse[c], g_sum = sums.of[c], g_h = sums.of[s.c + c] * r, by = scale[c] * r;
        const double of_x = -by * r * g_h / s.count();
        to_scale[c] = T(g_h);
        to_shift[c] = T(g_sum);
        p[c] = T(of_x);
        q[c] = T(by);
        t[c] = T(-by * g_sum / s.count() - of_x * mean[c]);
    }
    const Coefficients<T> f = {p, q, nullptr, t, nullptr, nullptr, nullptr};
    (last ? combine_last<T, POOL, false> : combine_first<T, POOL, false>)(gy, x, static_cast<const T*>(nullptr), code, f,
                                                                          T(slope), s, to_x, nullptr, threads);
}

template <class T, bool POOL>
void second(const T* u, const T* of_scale, const T* of_shift, const T* gy, const T* x, const uint8_t* code,
            const T* scale, const T* mean, const T* inverse, const T* g_hs, const T* g_sums, double slope,
            const Shape& s, bool last, T* to_gy, T* to_x, T* to_scale, int threads) {
    if (s.tasks > 1) {
        const Size in = s.size(), out = s.outputs<POOL>(), c = s.c;
        return each_one(s.tasks, threads, [=](Size k) {
            second<T, POOL>(u + k * in, of_scale + k * c, of_shift + k * c, gy + k * out, x + k * in, code + k * out,
                            scale + k * c, mean + k * c, inverse + k * c, g_hs + k * c, g_sums + k * c, slope, s.of_one(),
                            last, to_gy + k * out, to_x + k * in, to_scale + k * c, 1);
        });
    }
    Buffer sums(3 * s.c), room(7 * s.c);
    (last ? second_sums_last<T, POOL> : second_sums_first<T, POOL>)(u, gy, x, code, mean, T(slope), s, sums.of, threads);
    T* of = reinterpret_cast<T*>(room.of);
    const double m = s.count();
    for (Size c = 0; c < s.c; c++) {
        const double r = inverse[c], a = scale[c], g_h = g_hs[c], g_sum = g_sums[c], v = of_scale[c];
        const double u_sum = sums.of[c], u_h = sums.of[s.c + c] * r, both = sums.of[2 * s.c + c];
        const double x_of_u = -a * r * r * u_h / m, const_of_u = -a * r * u_sum / m - x_of_u * mean[c];
        const double scales = r * (both - (u_sum * g_sum + u_h * g_h) / m);
        const double by_g = r * (v - a * r * u_h / m), by_x = -r * (r * a * scales + by_g * g_h) / m;
        const double by_u = -r * g_h / m, by_h = v * r;
        to_scale[c] = T(scales);
        of[c] = T(by_x + by_u * x_of_u);
        of[s.c + c] = T(by_g);
        of[2 * s.c + c] = T(by_u * a * r);
        of[3 * s.c + c] = T(-by_x * mean[c] - by_g * g_sum / m + by_u * const_of_u);
        of[4 * s.c + c] = T(by_h + x_of_u);
        of[5 * s.c + c] = T(a * r);
        of[6 * s.c + c] = T(double(of_shift[c]) - by_h * mean[c] + const_of_u);
    }
    const Coefficients<T> f = {of,           of + s.c,     of + 2 * s.c, of + 3 * s.c,
                               of + 4 * s.c, of + 5 * s.c, of + 6 * s.c};
    (last ? combine_last<T, POOL, true> : combine_first<T, POOL, true>)(gy, x, u, code, f, T(slope), s, to_x, to_gy,
                                                                        threads);
}


template <class T> void moments_of_each(const T* x, const Shape& s, bool last, T* mean, T* variance, int threads) {
    each_one(s.n, threads, [=](Size n) {
        Buffer found(s.c);
        moments<T>(x + n * s.c * s.positions(), Shape{1, s.c, s.h, s.w}, last, mean + n * s.c, found.of, 1);
        for (Size c = 0; c < s.c; c++) variance[n * s.c + c] = T(found.of[c]);
    });
}

template <class T, bool POOL>
void given_forward(const T* x, const T* scale, const T* shift, double slope, const Shape& s, bool last, T* y,
                   uint8_t* code, int threads) {
    const Size in = s.c * s.positions(), out = POOL ? s.c * (s.h / 2) * (s.w / 2) : in;
    each_one(s.n, threads, [=](Size n) {
        (last ? apply_last<T, POOL> : apply_first<T, POOL>)(x + n * in, scale + n * s.c, shift + n * s.c, T(slope),
                                                            Shape{1, s.c, s.h, s.w}, y + n * out, code + n * out, 1);
    });
}

template <class T, bool POOL>
void given_backward(const T* gy, const T* x, const uint8_t* code, const T* scale, double slope, const Shape& s, bool last,
                    T* to_x, T* to_scale, T* to_shift, int threads) {
    const Size in = s.c * s.positions(), out = POOL ? s.c * (s.h / 2) * (s.w / 2) : in;
    each_one(s.n, threads, [=](Size n) {
        Buffer mean(s.c), room(s.c);
        T* inverse = reinterpret_cast<T*>(room.of);
        for (Size c = 0; c < s.c; c++) inverse[c] = 1;
        backward<T, POOL>(gy + n * out, x + n * in, code + n * out, scale + n * s.c, reinterpret_cast<T*>(mean.of), inverse,
                          slope, Shape{1, s.c, s.h, s.w, true}, last, to_x + n * in, to_scale + n * s.c,
                          to_shift + n * s.c, 1);
    });
}

template <class T, bool POOL>
void given_second(const T* u, const T* of_scale, const T* of_shift, const T* gy, const T* x, const uint8_t* code,
                  const T* scale, double slope, const Shape& s, bool last, T* to_gy, T* to_x, T* to_scale, int threads) {
    const Size in = s.c * s.positions(), out = POOL ? s.c * (s.h / 2) * (s.w / 2) : in;
    each_one(s.n, threads, [=](Size n) {
        Buffer zeros(s.c), room(s.c);  // the mean, and sums that are divided by m
        T *none = reinterpret_cast<T*>(zeros.of), *inverse = reinterpret_cast<T*>(room.of);
        for (Size c = 0; c < s.c; c++) inverse[c] = 1;
        second<T, POOL>(u + n * in, of_scale + n * s.c, of_shift + n * s.c, gy + n * out, x + n * in, code + n * out,
                        scale + n * s.c, none, inverse, none, none, slope, Shape{1, s.c, s.h, s.w, true}, last,
                        to_gy + n * out, to_x + n * in, to_scale + n * s.c, 1);
    });
}

}  // namespace

#define EXPORT(NAME, T)                                                                                                \
    extern "C" void forward_##NAME(const T* x, const T* scale, const T* shift, double epsilon, double slope, Size tasks, Size n, \
                                   Size c, Size h, Size w, Size last, Size pool, Size threads, T* y, uint8_t* code,       \
                                   T* mean, T* inverse) {                                                              \
        (pool ? forward<T, true> : forward<T, false>)(x, scale, shift, epsilon, slope, Shape{n, c, h, w, false, tasks}, last, y, \
                                                      code, mean, inverse, threads);                                   \
    }                                                                                                                  \
    extern "C" void backward_##NAME(const T* gy, const T* x, const uint8_t* code, const T* scale, const T* mean,       \
                                    const T* inverse, double slope, Size tasks, Size n, Size c, Size h, Size w, Size last, \
                                    Size pool, Size threads, T* to_x, T* to_scale, T* to_shift) {                        \
        (pool ? backward<T, true> : backward<T, false>)(gy, x, code, scale, mean, inverse, slope, Shape{n, c, h, w, false, tasks}, \
                                                        last, to_x, to_scale, to_shift, threads);                      \
    }                                                                                                                  \
    extern "C" void second_##NAME(const T* u, const T* of_scale, const T* of_shift, const T* gy, const T* x,           \
                                  const uint8_t* code, const T* scale, const T* mean, const T* inverse,                \
                                  const T* g_h, const T* g_sum, double slope, Size tasks, Size n, Size c, Size h, Size w, \
                                  Size last, Size pool, Size threads, T* to_gy, T* to_x, T* to_scale) {                   \
        (pool ? second<T, true> : second<T, false>)(u, of_scale, of_shift, gy, x, code, scale, mean, inverse, g_h,     \
                                                    g_sum, slope, Shape{n, c, h, w, false, tasks}, last, to_gy, to_x, to_scale, \
                                                    threads);                                                          \
    }                                                                                                                  \
    extern "C" void moments_##NAME(const T* x, Size n, Size c, Size h, Size w, Size last, Size, Size threads, T* mean, \
                                   T* variance) {                                                                      \
        moments_of_each<T>(x, Shape{n, c, h, w}, last, mean, variance, threads);                                       \
    }                                                                                                                  \
    extern "C" void given_forward_##NAME(const T* x, const T* scale, const T* shift, double slope, Size n, Size c, Size h,\
                                         Size w, Size last, Size pool, Size threads, T* y, uint8_t* code) {            \
        (pool ? given_forward<T, true> : given_forward<T, false>)(x, scale, shift, slope, Shape{n, c, h, w}, last, y, code,\
                                                                  threads);                                            \
    }                                                                                                                  \
    extern "C" void given_backward_##NAME(const T* gy, const T* x, const uint8_t* code, const T* scale, double slope,  \
                                          Size n, Size c, Size h, Size w, Size last, Size pool, Size threads, T* to_x, \
                                          T* to_scale, T* to_shift) {                                                  \
        (pool ? given_backward<T, true> : given_backward<T, false>)(gy, x, code, scale, slope, Shape{n, c, h, w}, last,\
                                                                    to_x, to_scale, to_shift, threads);                \
    }                                                                                                                  \
    extern "C" void given_second_##NAME(const T* u, const T* of_scale, const T* of_shift, const T* gy, const T* x,     \
                                        const uint8_t* code, const T* scale, double slope, Size n, Size c, Size h,     \
                                        Size w, Size last, Size pool, Size threads, T* to_gy, T* to_x, T* to_scale) {  \
        (pool ? given_second<T, true> : given_second<T, false>)(u, of_scale, of_shift, gy, x, code, scale, slope,      \
                                                                Shape{n, c, h, w}, last, to_gy, to_x, to_scale, threads);\
    }

EXPORT(float, float)
EXPORT(double, double)
