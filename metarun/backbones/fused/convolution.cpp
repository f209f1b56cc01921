// 3x3 convolution with a border of zeros, for each task with its own weights: values, and gradients of input and weights.
//
// Maps are (tasks, n, h, w, channels), weights (tasks, outputs, inputs, 3, 3). All three are matrix products over the nine
// taps, computed in tiles of ROWS x COLUMNS numbers that stay in registers. Every sum is in an order that depends on the
// shape alone, so results do not depend on the number of threads.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

namespace {

typedef int64_t Size;
#ifdef __AVX512F__
constexpr Size BYTES = 64;  // of a register
#else
constexpr Size BYTES = 32;
#endif
constexpr Size ROWS = 6, TAPS = 9;
constexpr Size PIXELS = 512;         // of a sum over positions and images that stay in the cache
constexpr Size PIXELS_A_PART = 2048;  // of such a sum that one thread computes
constexpr Size MOST_PARTS = 16;
constexpr Size PRODUCTS = 1 << 20;    // of a picture, in consecutive positions that one thread computes

template <class T> struct Register {
    typedef T Type __attribute__((vector_size(BYTES), aligned(sizeof(T)), may_alias));
};
template <class T> constexpr Size LANES = BYTES / sizeof(T);
template <class T> constexpr Size COLUMNS = 2 * LANES<T>;

struct Shape {
    Size tasks, n, inputs, outputs, h, w, stride;
    Size rows() const { return (h - 1) / stride + 1; }
    Size columns() const { return (w - 1) / stride + 1; }
    Size before() const { return h * w; }
    Size after() const { return rows() * columns(); }
    Size weights() const { return outputs * inputs * TAPS; }
};

struct Tap { Size tap, from, to; };  // output position `to` depends by weight `tap` on input position `from`

template <class Visit> void visit_taps(const Shape& s, Visit visit) {
    for (Size to = 0; to < s.after(); to++)
        for (Size tap = 0; tap < TAPS; tap++) {
            Size y = to / s.columns() * s.stride + tap / 3 - 1, x = to % s.columns() * s.stride + tap % 3 - 1;
            if (y >= 0 && y < s.h && x >= 0 && x < s.w) visit(Tap{tap, y * s.w + x, to});
        }
}

typedef std::vector<std::vector<Tap>> Taps;

// Numbers, not initialised.
template <class T> std::unique_ptr<T[]> numbers(Size count) { return std::unique_ptr<T[]>(new T[count]); }

inline Size ceil_of(Size a, Size b) { return (a + b - 1) / b; }

// A tile of R images and COLUMNS channels of one position: start + sum over taps and depth.
template <class T, Size R>
void tile(const std::vector<Tap>& taps, const T* maps, Size image, Size depth, const T* panel, const T* start, T* result,
          Size result_image) {
    typedef typename Register<T>::Type V;
    constexpr Size L = LANES<T>;
    V low[R], high[R];
    for (Size r = 0; r < R; r++) low[r] = *(const V*)start, high[r] = *(const V*)(start + L);
    for (const Tap& t : taps) {
        const T* a = maps + t.from * depth;
        const T* b = panel + t.tap * depth * COLUMNS<T>;
        for (Size k = 0; k < depth; k++, b += COLUMNS<T>) {
            V b0 = *(const V*)b, b1 = *(const V*)(b + L);
#pragma GCC unroll 8
            for (Size r = 0; r < R; r++) {
                T v = a[r * image + k];
                low[r] += b0 * v;
                high[r] += b1 * v;
            }
        }
    }
    for (Size r = 0; r < R; r++) *(V*)(result + r * result_image) = low[r], *(V*)(result + r * result_image + L) = high[r];
}

struct Run { Size from, to, length; };  // of positions

// Add to a tile of R rows and COLUMNS channels: the sum over runs of positions, and images.
template <class T, Size R> void add_tile(const std::vector<Run>& runs, Size n, const T* rows, const T* panel, T* result) {
    typedef typename Register<T>::Type V;
    constexpr Size L = LANES<T>;
    V low[R], high[R];
    for (Size r = 0; r < R; r++) low[r] = *(V*)(result + r * 2 * L), high[r] = *(V*)(result + r * 2 * L + L);
    for (const Run& run : runs) {
        const T* a = rows + run.from * n * R;
        const T* b = panel + run.to * n * COLUMNS<T>;
        for (Size i = 0; i < run.length * n; i++, a += R, b += COLUMNS<T>) {
            V b0 = *(const V*)b, b1 = *(const V*)(b + L);
#pragma GCC unroll 8
            for (Size r = 0; r < R; r++) low[r] += b0 * a[r], high[r] += b1 * a[r];
        }
    }
    for (Size r = 0; r < R; r++) *(V*)(result + r * 2 * L) = low[r], *(V*)(result + r * 2 * L + L) = high[r];
}

template <class F> void with_rows(Size rows, F f) {  // rows, as a constant
    switch (rows) {
        case 1: return f(std::integral_constant<Size, 1>());
        case 2: return f(std::integral_constant<Size, 2>());
        case 3: return f(std::integral_constant<Size, 3>());
        case 4: return f(std::integral_constant<Size, 4>());
        case 5: return f(std::integral_constant<Size, 5>());
        default: return f(std::integral_constant<Size, ROWS>());
    }
}

// result (tasks, n, positions, width) of maps (tasks, n, from, depth), by the taps of each position of the result.
// Weight k, j, tap of a task is at k * along + j * across + tap.
template <class T>
void correlate(const Shape& s, const Taps& taps, const T* maps, Size from, Size depth, Size along, const T* weight,
               Size across, const T* bias, Size width, T* result, int threads) {
    const Size C = COLUMNS<T>, positions = taps.size(), panels = ceil_of(width, C), panel = TAPS * depth * C;
    const Size blocks = ceil_of(s.n, ROWS), each = ceil_of(s.n, blocks);
    const Size band = std::max<Size>(1, PRODUCTS / (TAPS * depth * width)), bands = ceil_of(positions, band);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        auto packed = numbers<T>(panels * panel), start = numbers<T>(panels * C);
        T out[ROWS * COLUMNS<T>];
        Size packed_task = -1;
#pragma omp for schedule(static)
        for (Size item = 0; item < s.tasks * blocks * bands; item++) {
            const Size task = item / (blocks * bands), begin = item % bands * band;
            const Size first = item / bands % blocks * each, images = std::min(each, s.n - first);
            if (task != packed_task) {
                packed_task = task;
                for (Size j = 0; j < panels * C; j++) start[j] = bias && j < width ? bias[task * width + j] : T(0);
                for (Size p = 0; p < panels; p++) {
                    const Size some = std::min(C, width - p * C);
                    const T* of = weight + task * s.weights() + p * C * across;
                    T* to = packed.get() + p * panel;
                    T taps[TAPS][COLUMNS<T>] = {};
                    for (Size k = 0; k < depth; k++, of += along, to += C) {
                        for (Size j = 0; j < some; j++)
                            for (Size t = 0; t < TAPS; t++) taps[t][j] = of[j * across + t];
                        for (Size t = 0; t < TAPS; t++) std::copy(taps[t], taps[t] + C, to + t * depth * C);
                    }
                }
            }
            const T* x = maps + (task * s.n + first) * from * depth;
            T* y = result + (task * s.n + first) * positions * width;
            with_rows(images, [&](auto rows) {
                for (Size position = begin; position < std::min(positions, begin + band); position++)
                    for (Size p = 0; p < panels; p++) {
                        const Size some = std::min(C, width - p * C);
                        T* at = y + position * width + p * C;
                        tile<T, rows()>(taps[position], x, from * depth, depth, packed.get() + p * panel, start.get() + p * C,
                                        some == C ? at : out, some == C ? positions * width : C);
                        if (some < C)
                            for (Size r = 0; r < rows(); r++)
                                std::memcpy(at + r * positions * width, out + r * C, some * sizeof(T));
                    }
            });
        }
    }
}

template <class T>
void forward(const T* x, const T* weight, const T* bias, const Shape& s, T* y, int threads) {
    Taps taps(s.after());
    visit_taps(s, [&](Tap t) { taps[t.to].push_back(t); });
    correlate<T>(s, taps, x, s.before(), s.inputs, TAPS, weight, s.inputs * TAPS, bias, s.outputs, y, threads);
}

template <class T> void to_input(const T* gy, const T* weight, const Shape& s, T* gx, int threads) {
    Taps taps(s.before());
    visit_taps(s, [&](Tap t) { taps[t.from].push_back({t.tap, t.to, t.from}); });
    correlate<T>(s, taps, gy, s.after(), s.outputs, s.inputs * TAPS, weight, TAPS, nullptr, s.inputs, gx, threads);
}

// The gradient of weights and biases. A row is an input channel, whose numbers serve nine taps; where there are few
// channels, it is a tap of a channel.
template <class T>
void to_weight(const T* x, const T* gy, const Shape& s, T* weight, T* bias, int threads) {
    const Size C = COLUMNS<T>, panels = ceil_of(s.outputs, C), before = s.before(), after = s.after();
    const bool few = s.inputs < ROWS;
    std::vector<std::vector<Run>> runs(TAPS), all(1, {Run{0, 0, after}});
    std::vector<Size> place_of(before);  // in a block, where those of a run are next to each other
    for (Size p = 0; p < before; p++)
        place_of[p] = p / s.w * s.w + (s.stride == 1 ? p % s.w : p % s.w % 2 * ((s.w + 1) / 2) + p % s.w / 2);
    Taps pairs(TAPS);
    visit_taps(s, [&](Tap t) {
        pairs[t.tap].push_back(t);
        std::vector<Run>& of = runs[t.tap];
        const Size from = place_of[t.from];
        if (!of.empty() && of.back().from + of.back().length == from && of.back().to + of.back().length == t.to)
            of.back().length++;
        else of.push_back({from, t.to, 1});
    });
    const Size rows = few ? TAPS * s.inputs : s.inputs, blocks = ceil_of(rows, ROWS), each = ceil_of(rows, blocks);
    const Size tiles = few ? 1 : TAPS, tile_size = ROWS * C, sums = blocks * panels * tiles * tile_size;
    const Size at_once = std::max<Size>(1, std::min(s.n, PIXELS / after));
    Size parts = 1;  // a power of two, which threads share evenly
    while (parts < MOST_PARTS && parts * PIXELS_A_PART < s.n * after && parts * at_once < s.n) parts *= 2;
    const Size share = ceil_of(s.n, parts);
    auto sum = numbers<T>(s.tasks * parts * sums), bias_sum = numbers<T>(s.tasks * parts * panels * C);
    std::vector<Size> place;  // in the sums of a panel, of each weight of an output channel
    for (Size c = 0; c < s.inputs; c++)
        for (Size tap = 0; tap < TAPS; tap++) {
            const Size row = few ? tap * s.inputs + c : c;
            place.push_back((row / each * panels * tiles + (few ? 0 : tap)) * tile_size + row % each * C);
        }
    auto write = [&](Size task) {
        const Size numbers = place.size();
        for (Size p = 0; p < panels; p++) {
            const T* of = sum.get() + task * parts * sums + p * tiles * tile_size;
            T* to = weight + (task * s.outputs + p * C) * numbers;
            const Size some = std::min(C, s.outputs - p * C);
            for (Size c = 0; c < s.inputs; c++, to += TAPS) {
                T taps[TAPS][COLUMNS<T>];
                for (Size t = 0; t < TAPS; t++) {
                    const T* from = of + place[c * TAPS + t];
                    for (Size o = 0; o < C; o++) taps[t][o] = from[o];
                    for (Size part = 1; part < parts; part++)
                        for (Size o = 0; o < C; o++) taps[t][o] += from[part * sums + o];
                }
                for (Size o = 0; o < some; o++)
                    for (Size t = 0; t < TAPS; t++) to[o * numbers + t] = taps[t][o];
            }
        }
        for (Size o = 0; o < s.outputs; o++) {
            T found = 0;
            for (Size part = 0; part < parts; part++) found += bias_sum[(task * parts + part) * panels * C + o];
            bias[task * s.outputs + o] = found;
        }
    };
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        auto panel = numbers<T>(panels * after * at_once * C), block = numbers<T>((few ? after : before) * at_once * ROWS);
#pragma omp for schedule(static)
        for (Size item = 0; item < s.tasks * parts; item++) {
            const Size task = item / parts, part = item % parts, end = std::min(s.n, (part + 1) * share);
            T* total = sum.get() + item * sums;
            T* biases = bias_sum.get() + item * panels * C;
            std::fill(total, total + sums, T(0));
            std::fill(biases, biases + panels * C, T(0));
            for (Size begin = part * share; begin < end; begin += at_once) {
                const Size n = std::min(at_once, end - begin);
                const T* g = gy + (task * s.n + begin) * after * s.outputs;
                const T* maps = x + (task * s.n + begin) * before * s.inputs;
                for (Size to = 0; to < after; to++)
                    for (Size i = 0; i < n; i++)
                        for (Size p = 0; p < panels; p++) {
                            const Size some = std::min(C, s.outputs - p * C);
                            const T* from = g + (i * after + to) * s.outputs + p * C;
                            T* at = panel.get() + ((p * after + to) * n + i) * C;
                            if (some == C) std::memcpy(at, from, C * sizeof(T));
                            else std::fill(std::copy(from, from + some, at), at + C, T(0));
                            T* bias = biases + p * C;
#pragma omp simd
                            for (Size j = 0; j < C; j++) bias[j] += at[j];
                        }
                for (Size b = 0; b < blocks; b++)
                    with_rows(std::min(each, rows - b * each), [&](auto count) {
                        constexpr Size R = count();
                        const Size first = b * each;
                        if (few) {
                            std::fill(block.get(), block.get() + after * n * R, T(0));
                            for (Size r = 0; r < R; r++)
                                for (const Tap& t : pairs[(first + r) / s.inputs])
                                    for (Size i = 0; i < n; i++)
                                        block[(t.to * n + i) * R + r] =
                                            maps[(i * before + t.from) * s.inputs + (first + r) % s.inputs];
                        } else {
                            for (Size p = 0; p < before; p++)
                                for (Size i = 0; i < n; i++)
                                    for (Size r = 0; r < R; r++)
                                        block[(place_of[p] * n + i) * R + r] = maps[(i * before + p) * s.inputs + first + r];
                        }
                        for (Size p = 0; p < panels; p++)
                            for (Size t = 0; t < tiles; t++)
                                add_tile<T, R>(few ? all[0] : runs[t], n, block.get(), panel.get() + p * after * n * C,
                                               total + ((b * panels + p) * tiles + t) * tile_size);
                    });
            }
            if (parts == 1) write(task);
        }
        if (parts > 1) {
#pragma omp for schedule(static)
            for (Size task = 0; task < s.tasks; task++) write(task);
        }
    }
}

}  // namespace

#define DEFINE(T)                                                                                                        \
    extern "C" void convolve_##T(const T* x, const T* weight, const T* bias, Size tasks, Size n, Size inputs, Size outputs, \
                                 Size h, Size w, Size stride, Size threads, T* y) {                                       \
        forward<T>(x, weight, bias, Shape{tasks, n, inputs, outputs, h, w, stride}, y, int(threads));                     \
    }                                                                                                                     \
    extern "C" void convolution_to_input_##T(const T* gy, const T* weight, Size tasks, Size n, Size inputs, Size outputs,   \
                                             Size h, Size w, Size stride, Size threads, T* gx) {                          \
        to_input<T>(gy, weight, Shape{tasks, n, inputs, outputs, h, w, stride}, gx, int(threads));                        \
    }                                                                                                                     \
    extern "C" void convolution_to_weight_##T(const T* x, const T* gy, Size tasks, Size n, Size inputs, Size outputs,       \
                                              Size h, Size w, Size stride, Size threads, T* gw, T* gb) {                  \
        to_weight<T>(x, gy, Shape{tasks, n, inputs, outputs, h, w, stride}, gw, gb, int(threads));                        \
    }
DEFINE(float)
DEFINE(double)
