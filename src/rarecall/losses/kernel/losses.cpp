// Losses in single precision on a CPU: value and gradient in one pass, without temporaries.
//
// Python holds every formula too, as differentiable tensor operations, and tests hold the two equal. Here a
// formula is written once over `Dual`, a number with its derivative by the logit, so no gradient is derived by
// hand. Loops are left to the compiler to vectorise, which is why exp and log are written out.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif

#define INLINE static inline __attribute__((always_inline))

namespace {

constexpr float INFINITY_ = std::numeric_limits<float>::infinity();
constexpr int64_t CHUNK = 1024;           // entries summed in single precision before they join a double
constexpr int64_t WORTH_A_THREAD = 8192;  // entries

// --- elementary functions, within 2 units in the last place ----------------------------------------------------

INLINE float exponential(float x) {
  x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
  const float rounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float shifted = x * 1.44269504f + rounder;
  const float n = shifted - rounder;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float y = 1.0f / 5040;
  y = y * r + 1.0f / 720;
  y = y * r + 1.0f / 120;
  y = y * r + 1.0f / 24;
  y = y * r + 1.0f / 6;
  y = y * r + 0.5f;
  y = y * r + 1.0f;
  y = y * r + 1.0f;
  uint32_t bits;
  std::memcpy(&bits, &shifted, 4);
  bits = (bits << 23) + 0x3f800000u;
  float power;
  std::memcpy(&power, &bits, 4);
  return y * power;
}

// 2 atanh(s) for |s| <= 1/3, by its series.
INLINE float twice_atanh(float s) {
  const float t = s * s;
  float y = 1.0f / 15;
  y = y * t + 1.0f / 13;
  y = y * t + 1.0f / 11;
  y = y * t + 1.0f / 9;
  y = y * t + 1.0f / 7;
  y = y * t + 1.0f / 5;
  y = y * t + 1.0f / 3;
  y = y * t + 1.0f;
  return 2.0f * s * y;
}

INLINE float log_one_plus(float u) { return twice_atanh(u / (2.0f + u)); }  // u from 0 to 1

INLINE float logarithm(float x) {  // normal x > 0
  int32_t bits;
  std::memcpy(&bits, &x, 4);
  const int32_t exponent = (bits - 0x3f3504f3) >> 23;  // so that the mantissa is from 0.707 to 1.414
  bits -= exponent << 23;
  float mantissa;
  std::memcpy(&mantissa, &bits, 4);
  return twice_atanh((mantissa - 1.0f) / (mantissa + 1.0f)) + static_cast<float>(exponent) * 0.693147181f;
}

// --- numbers with their derivative by the logit ----------------------------------------------------------------

struct Dual {
  float value, slope;
};
INLINE Dual operator+(Dual a, Dual b) { return {a.value + b.value, a.slope + b.slope}; }
INLINE Dual operator*(Dual a, Dual b) { return {a.value * b.value, a.slope * b.value + a.value * b.slope}; }
INLINE Dual operator*(float a, Dual b) { return {a * b.value, a * b.slope}; }
INLINE Dual operator-(float a, Dual b) { return {a - b.value, -b.slope}; }
INLINE Dual constant(Dual a) { return {a.value, 0.0f}; }
INLINE Dual exponential(Dual a) {
  const float e = exponential(a.value);
  return {e, e * a.slope};
}
// (1 - exp(-x)) / q for x = q * a, exact also where q is small
INLINE Dual power_loss(Dual a, float q) {
  const float x = q * a.value, e = exponential(-x);
  const float series = x * (1.0f - x * (0.5f - x * (1.0f / 6 - x * (1.0f / 24 - x * (1.0f / 120)))));
  return {(x < 0.2f ? series : 1.0f - e) / q, e * a.slope};
}

// What a logit says: p = sigmoid(z) and q = 1 - p, and their negative logarithms, from one exponential.
struct Logistic {
  Dual p, q, loss_present, loss_absent;
};
INLINE Logistic logistic(float z, float scale = 1.0f) {
  const float e = exponential(-std::fabs(z)), r = 1.0f / (1.0f + e), s = e * r, l = log_one_plus(e);
  const float p = z >= 0 ? r : s, q = z >= 0 ? s : r, slope = scale * r * s;
  return {{p, slope},
          {q, -slope},
          {l + (z < 0 ? -z : 0.0f), -scale * q},
          {l + (z > 0 ? z : 0.0f), scale * p}};
}

// --- one term per entry ----------------------------------------------------------------------------------------

// The terms of an entry, each to be weighed by how present, absent or unknown it is.
struct Terms {
  Dual present, absent, unknown;
};

struct ClassOptions {  // of one class
  float present_weight = 1, absent_weight = 1, present_bias = 0, absent_bias = 0, rarity = 0;
};

struct CrossEntropy {
  INLINE Terms terms(const float*, ClassOptions, float, float z) {
    const Logistic x = logistic(z);
    return {x.loss_present, x.loss_absent, {0, 0}};
  }
};

struct Focal {  // options: gamma of present, of absent, weight of present, of absent
  INLINE Terms terms(const float* o, ClassOptions, float, float z) {
    const Logistic x = logistic(z);
    return {o[2] * (exponential(-o[0] * x.loss_absent) * x.loss_present),
            o[3] * (exponential(-o[1] * x.loss_present) * x.loss_absent),
            {0, 0}};
  }
};

struct Asymmetric {  // options: gamma of present, of absent, margin, whether the focus is a constant
  INLINE Terms terms(const float* o, ClassOptions, float, float z) {
    const Logistic x = logistic(z);
    const float shifted = x.p.value - o[2];
    const bool active = shifted > 0;
    const float rest = x.q.value + o[2];
    const Dual loss = o[2] == 0 ? x.loss_absent : Dual{active ? -logarithm(rest) : 0.0f, active ? x.p.slope / rest : 0.0f};
    const float base = active ? shifted : 1e-30f;
    const Dual distance = o[2] == 0 ? -1.0f * x.loss_present : Dual{logarithm(base), x.p.slope / base};
    Dual hard_positive = exponential(-o[0] * x.loss_absent), hard_negative = exponential(o[1] * distance);
    if (o[3] != 0) {
      hard_positive = constant(hard_positive);
      hard_negative = constant(hard_negative);
    }
    const Dual absent = hard_negative * loss;
    return {hard_positive * x.loss_present, {active ? absent.value : 0.0f, active ? absent.slope : 0.0f}, {0, 0}};
  }
};

struct Hill {  // options: margin, gamma, lambda
  INLINE Terms terms(const float* o, ClassOptions, float, float z) {
    const Logistic shifted = logistic(z - o[0]), x = logistic(z);
    return {exponential(-o[1] * shifted.loss_absent) * shifted.loss_present, (o[2] - x.p) * (x.p * x.p), {0, 0}};
  }
};

struct ShiftedFocal {  // options: margin, gamma, logit above which an absent entry counts as present
  INLINE Terms terms(const float* o, ClassOptions, float, float z) {
    const Logistic shifted = logistic(z - o[0]), x = logistic(z);
    const Dual present = exponential(-o[1] * shifted.loss_absent) * shifted.loss_present;
    const Dual absent = exponential(-o[1] * x.loss_present) * x.loss_absent;
    const bool corrected = z > o[2];
    return {present, {corrected ? present.value : absent.value, corrected ? present.slope : absent.slope}, {0, 0}};
  }
};

// options: scale of present, of absent, gamma; and an entry's weight, o[5] + o[6] sigmoid(o[3] (share - o[4]))
struct Rebalanced {
  INLINE Terms terms(const float* o, ClassOptions c, float row, float z) {
    const Logistic a = logistic(o[0] * z + c.present_bias, o[0]), b = logistic(o[1] * z + c.absent_bias, o[1]);
    const float share = c.rarity * row;
    const float weight = o[5] + o[6] / (1.0f + exponential(o[3] * (o[4] - share)));
    return {weight * (exponential(-o[2] * a.loss_absent) * a.loss_present),
            weight * (exponential(-o[2] * b.loss_present) * b.loss_absent),
            {0, 0}};
  }
};

struct GeneralizedRobust {  // options: w, b, mu, 1 / (2 sigma²), q2, q3
  INLINE Terms terms(const float* o, ClassOptions, float, float z) {
    const Logistic x = logistic(z);
    const float p = x.p.value, k = 1.0f / (1.0f + exponential(-(o[0] * p + o[1])));
    const float v = exponential(-(p - o[2]) * (p - o[2]) * o[3]);
    return {x.loss_present, x.loss_absent,
            (v * k) * power_loss(x.loss_present, o[4]) + (v * (1.0f - k)) * power_loss(x.loss_absent, o[5])};
  }
};

struct Entropy {  // options: alpha
  INLINE Terms terms(const float* o, ClassOptions, float, float z) {
    const Logistic x = logistic(z);
    return {x.loss_present, x.loss_absent, -o[0] * (x.p * x.loss_present + x.q * x.loss_absent)};
  }
};

struct Probability {
  INLINE Terms terms(const float*, ClassOptions, float, float z) {
    const Logistic x = logistic(z);
    return {x.p, x.p, x.p};
  }
};

struct Problem {
  const float *logits, *targets;
  int64_t rows, columns;
  const float* options;
  const float* classes;      // 5 x columns, or null: ClassOptions by their order
  const float* row_weights;  // rows, or null
  float present, absent, unknown, soft;
  float* gradient;  // rows x columns, or null
};

struct Scales {
  float present, absent, unknown, soft;
};

// Functions of one entry keep the loops over them free of structures, which would not be vectorised.
template <class Loss, bool BY_CLASS>
INLINE Dual one_entry(const Problem& problem, const float* options, int64_t c, float share, const Scales& scales,
                      float z, float y) {
  const bool known = y >= 0;
  ClassOptions own;
  if (BY_CLASS) {
    const float* classes = problem.classes + c;
    const int64_t columns = problem.columns;
    own = {classes[0], classes[columns], classes[2 * columns], classes[3 * columns], classes[4 * columns]};
  }
  const Terms term = Loss().terms(options, own, share, known || scales.unknown != 0 ? z : 0.0f);
  const float soft = y > 0 && y < 1 ? scales.soft : 1.0f;
  const float present = known ? soft * scales.present * own.present_weight * y : 0.0f;
  const float absent = known ? soft * scales.absent * own.absent_weight * (1.0f - y) : 0.0f;
  const float unknown = known ? 0.0f : scales.unknown;
  return present * term.present + (absent * term.absent + unknown * term.unknown);
}

template <class Loss, bool BY_CLASS>
double one_row(const Problem& problem, int64_t row, float* gradient) {
  const int64_t columns = problem.columns;
  const float *z = problem.logits + row * columns, *y = problem.targets + row * columns;
  const float* classes = problem.classes;
  const float row_weight = problem.row_weights ? problem.row_weights[row] : 1.0f;
  float share = 0;  // of the row's rarity that one unit of a class's is
  if (BY_CLASS) {
    float total = 0;
    const float* rarity = classes + 4 * columns;
#pragma omp simd reduction(+ : total)
    for (int64_t c = 0; c < columns; ++c) total += (y[c] > 0 ? y[c] : 0.0f) * rarity[c];
    share = total > 0 ? 1.0f / total : 1e30f;
  }
  float options[8];
  for (int i = 0; i < 8; ++i) options[i] = problem.options[i];
  const Scales scales = {problem.present * row_weight, problem.absent * row_weight, problem.unknown * row_weight,
                         problem.soft};
  double total = 0;
  for (int64_t start = 0; start < columns; start += CHUNK) {
    const int64_t end = start + CHUNK < columns ? start + CHUNK : columns;
    float values[CHUNK];
#pragma GCC ivdep
    for (int64_t c = start; c < end; ++c) {
      const Dual term = one_entry<Loss, BY_CLASS>(problem, options, c, share, scales, z[c], y[c]);
      values[c - start] = term.value;
      gradient[c] = term.slope;
    }
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < end - start; ++i) sum += values[i];
    total += sum;
  }
  return total;
}

template <class Loss>
double all_rows(const Problem& problem, int threads) {
  double total = 0;
#pragma omp parallel num_threads(threads) reduction(+ : total) if (problem.rows * problem.columns > WORTH_A_THREAD)
  {
    std::vector<float> unwanted(problem.gradient ? 0 : problem.columns);
#pragma omp for schedule(static)
    for (int64_t row = 0; row < problem.rows; ++row) {
      float* gradient = problem.gradient ? problem.gradient + row * problem.columns : unwanted.data();
      total += problem.classes ? one_row<Loss, true>(problem, row, gradient) : one_row<Loss, false>(problem, row, gradient);
    }
  }
  return total;
}

// --- log-sum-exp over the positives and over the negatives of a set --------------------------------------------

// What is exponentiated: a multiple of the logit.
struct Linear {  // options: factor of negatives, of positives
  INLINE Dual score(const float* o, float z, bool positive) {
    const float factor = positive ? o[1] : o[0];
    return {factor * z, factor};
  }
};

struct Circle {  // options: gamma, margin
  INLINE Dual score(const float* o, float z, bool positive) {
    const float e = exponential(-std::fabs(z)), r = 1.0f / (1.0f + e), low = e * r;
    const float s = z >= 0 ? r : low;
    const float far = positive ? 1.0f + o[1] - s : s + o[1];
    const float pace = (far > 0 ? far : 0.0f) * o[0] * (positive ? -1.0f : 1.0f);
    return {pace * (positive ? s - 1.0f + o[1] : s - o[1]), pace * r * low};
  }
};

struct Pairs {
  const float *logits, *targets;
  int64_t rows, columns;
  const float* options;
  float *negative_rows, *positive_rows, *negative_columns, *positive_columns;  // log-sum-exp, or null
};

// Scores of the entries of each kind, minus infinity for the others.
template <class Score>
INLINE void both(const float* o, float z, float y, float& negative, float& positive) {
  const bool is_positive = y > 0, is_negative = y == 0;
  const float score = Score().score(o, is_positive || is_negative ? z : 0.0f, is_positive).value;
  negative = is_negative ? score : -INFINITY_;
  positive = is_positive ? score : -INFINITY_;
}

INLINE float finite_or_zero(float x) { return x > -INFINITY_ ? x : 0.0f; }

// exp(score - reference) of the entries of each kind, 0 for the others.
template <class Score>
INLINE void shares(const float* o, float z, float y, float below, float above, float& negative, float& positive) {
  const bool is_positive = y > 0, is_negative = y == 0;
  const float score = Score().score(o, is_positive || is_negative ? z : 0.0f, is_positive).value;
  const float e = exponential(score - (is_positive ? above : below));
  negative = is_negative ? e : 0.0f;
  positive = is_positive ? e : 0.0f;
}

template <class Score>
void lse_of_row(const Pairs& pairs, int64_t row) {
  const int64_t columns = pairs.columns;
  const float *z = pairs.logits + row * columns, *y = pairs.targets + row * columns;
  const float o[2] = {pairs.options[0], pairs.options[1]};
  float negative[CHUNK], positive[CHUNK];
  float most_negative = -INFINITY_, most_positive = -INFINITY_;
  for (int64_t start = 0; start < columns; start += CHUNK) {
    const int64_t length = start + CHUNK < columns ? CHUNK : columns - start;
#pragma GCC ivdep
    for (int64_t i = 0; i < length; ++i) both<Score>(o, z[start + i], y[start + i], negative[i], positive[i]);
#pragma omp simd reduction(max : most_negative, most_positive)
    for (int64_t i = 0; i < length; ++i) {
      most_negative = negative[i] > most_negative ? negative[i] : most_negative;
      most_positive = positive[i] > most_positive ? positive[i] : most_positive;
    }
  }
  const float below = finite_or_zero(most_negative), above = finite_or_zero(most_positive);
  double negatives = 0, positives = 0;
  for (int64_t start = 0; start < columns; start += CHUNK) {
    const int64_t length = start + CHUNK < columns ? CHUNK : columns - start;
#pragma GCC ivdep
    for (int64_t i = 0; i < length; ++i)
      shares<Score>(o, z[start + i], y[start + i], below, above, negative[i], positive[i]);
    float negative_sum = 0, positive_sum = 0;
#pragma omp simd reduction(+ : negative_sum, positive_sum)
    for (int64_t i = 0; i < length; ++i) {
      negative_sum += negative[i];
      positive_sum += positive[i];
    }
    negatives += negative_sum;
    positives += positive_sum;
  }
  pairs.negative_rows[row] = negatives > 0 ? below + static_cast<float>(std::log(negatives)) : -INFINITY_;
  pairs.positive_rows[row] = positives > 0 ? above + static_cast<float>(std::log(positives)) : -INFINITY_;
}

constexpr int64_t BAND = 128;  // columns that are gone down together, so that they stay in the cache

template <class Score>
void lse_of_columns(const Pairs& pairs, int64_t start, int64_t end) {
  const float o[2] = {pairs.options[0], pairs.options[1]};
  const int64_t width = end - start;
  float below[BAND], above[BAND], negatives[BAND], positives[BAND];
  for (int64_t c = 0; c < BAND; ++c) {
    below[c] = above[c] = -INFINITY_;
    negatives[c] = positives[c] = 0;
  }
  for (int64_t row = 0; row < pairs.rows; ++row) {
    const float *z = pairs.logits + row * pairs.columns + start, *y = pairs.targets + row * pairs.columns + start;
#pragma GCC ivdep
    for (int64_t c = 0; c < width; ++c) {
      float negative, positive;
      both<Score>(o, z[c], y[c], negative, positive);
      below[c] = negative > below[c] ? negative : below[c];
      above[c] = positive > above[c] ? positive : above[c];
    }
  }
  for (int64_t c = 0; c < width; ++c) {
    below[c] = finite_or_zero(below[c]);
    above[c] = finite_or_zero(above[c]);
  }
  for (int64_t row = 0; row < pairs.rows; ++row) {
    const float *z = pairs.logits + row * pairs.columns + start, *y = pairs.targets + row * pairs.columns + start;
#pragma GCC ivdep
    for (int64_t c = 0; c < width; ++c) {
      float negative, positive;
      shares<Score>(o, z[c], y[c], below[c], above[c], negative, positive);
      negatives[c] += negative;
      positives[c] += positive;
    }
  }
  for (int64_t c = 0; c < width; ++c) {
    pairs.negative_columns[start + c] = negatives[c] > 0 ? below[c] + std::log(negatives[c]) : -INFINITY_;
    pairs.positive_columns[start + c] = positives[c] > 0 ? above[c] + std::log(positives[c]) : -INFINITY_;
  }
}

template <class Score>
void all_lse(const Pairs& pairs, int threads) {
  const bool worth = pairs.rows * pairs.columns > WORTH_A_THREAD;
#pragma omp parallel num_threads(threads) if (worth)
  {
    if (pairs.negative_rows) {
#pragma omp for schedule(static) nowait
      for (int64_t row = 0; row < pairs.rows; ++row) lse_of_row<Score>(pairs, row);
    }
    if (pairs.negative_columns) {
#pragma omp for schedule(dynamic)
      for (int64_t band = 0; band < (pairs.columns + BAND - 1) / BAND; ++band) {
        const int64_t start = band * BAND, end = start + BAND < pairs.columns ? start + BAND : pairs.columns;
        lse_of_columns<Score>(pairs, start, end);
      }
    }
  }
}

// The softmax of an entry within its set, times what comes down to the set's log-sum-exp.
INLINE float share_of(float score, bool is_positive, float below, float above, float down_below, float down_above) {
  return (is_positive ? down_above : down_below) * exponential(score - (is_positive ? above : below));
}

template <class Score, bool ROWS, bool COLUMNS>
void gradient_of_row(const Pairs& pairs, const Pairs& down, int64_t row, float* gradient) {
  const int64_t columns = pairs.columns;
  const float *z = pairs.logits + row * columns, *y = pairs.targets + row * columns;
  const float o[2] = {pairs.options[0], pairs.options[1]};
  const float row_below = ROWS ? pairs.negative_rows[row] : 0, row_above = ROWS ? pairs.positive_rows[row] : 0;
  const float row_down_below = ROWS ? down.negative_rows[row] : 0, row_down_above = ROWS ? down.positive_rows[row] : 0;
  const float *below = pairs.negative_columns, *above = pairs.positive_columns;
  const float *down_below = down.negative_columns, *down_above = down.positive_columns;
#pragma GCC ivdep
  for (int64_t c = 0; c < columns; ++c) {
    const bool is_positive = y[c] > 0, counts = is_positive || y[c] == 0;
    const float logit = counts ? z[c] : 0.0f;
    const float score = Score().score(o, logit, is_positive).value, slope = Score().score(o, logit, is_positive).slope;
    float sum = 0;
    if (ROWS) sum += share_of(score, is_positive, row_below, row_above, row_down_below, row_down_above);
    if (COLUMNS) sum += share_of(score, is_positive, below[c], above[c], down_below[c], down_above[c]);
    gradient[c] = counts ? sum * slope : 0.0f;
  }
}

template <class Score>
void all_gradients(const Pairs& pairs, const Pairs& down, float* gradient, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (pairs.rows * pairs.columns > WORTH_A_THREAD)
  for (int64_t row = 0; row < pairs.rows; ++row) {
    float* own = gradient + row * pairs.columns;
    if (pairs.negative_rows && pairs.negative_columns)
      gradient_of_row<Score, true, true>(pairs, down, row, own);
    else if (pairs.negative_rows)
      gradient_of_row<Score, true, false>(pairs, down, row, own);
    else
      gradient_of_row<Score, false, true>(pairs, down, row, own);
  }
}

Pairs pairs_of(const float* logits, const float* targets, int64_t rows, int64_t columns, const float* options,
               bool by_row, bool by_column, float* lse) {
  // lse is 2 x (rows if by_row + columns if by_column): negatives first.
  const int64_t length = (by_row ? rows : 0) + (by_column ? columns : 0);
  float* of_columns = lse + (by_row ? rows : 0);
  return {logits, targets, rows, columns, options, by_row ? lse : nullptr, by_row ? lse + length : nullptr,
          by_column ? of_columns : nullptr, by_column ? of_columns + length : nullptr};
}

}  // namespace

extern "C" {

// The weighted sum of one term per entry; its gradient too unless `gradient` is null.
double rarecall_pointwise(int32_t loss, const float* logits, const float* targets, int64_t rows, int64_t columns,
                          const float* options, const float* classes, const float* row_weights, float present,
                          float absent, float unknown, float soft, float* gradient, int32_t threads) {
  const Problem problem = {logits,  targets, rows,   columns, options, classes, row_weights,
                           present, absent,  unknown, soft,    gradient};
  switch (loss) {
    case 0: return all_rows<CrossEntropy>(problem, threads);
    case 1: return all_rows<Focal>(problem, threads);
    case 2: return all_rows<Asymmetric>(problem, threads);
    case 3: return all_rows<Hill>(problem, threads);
    case 4: return all_rows<ShiftedFocal>(problem, threads);
    case 5: return all_rows<Rebalanced>(problem, threads);
    case 6: return all_rows<GeneralizedRobust>(problem, threads);
    case 7: return all_rows<Entropy>(problem, threads);
    case 8: return all_rows<Probability>(problem, threads);
    default: return std::numeric_limits<double>::quiet_NaN();
  }
}

void rarecall_lse(int32_t score, const float* logits, const float* targets, int64_t rows, int64_t columns,
                  const float* options, int32_t by_row, int32_t by_column, float* lse, int32_t threads) {
  const Pairs pairs = pairs_of(logits, targets, rows, columns, options, by_row, by_column, lse);
  score == 0 ? all_lse<Linear>(pairs, threads) : all_lse<Circle>(pairs, threads);
}

void rarecall_lse_gradient(int32_t score, const float* logits, const float* targets, int64_t rows, int64_t columns,
                           const float* options, int32_t by_row, int32_t by_column, float* lse, float* down,
                           float* gradient, int32_t threads) {
  const Pairs pairs = pairs_of(logits, targets, rows, columns, options, by_row, by_column, lse);
  const Pairs incoming = pairs_of(logits, targets, rows, columns, options, by_row, by_column, down);
  score == 0 ? all_gradients<Linear>(pairs, incoming, gradient, threads)
             : all_gradients<Circle>(pairs, incoming, gradient, threads);
}

// Entries with a known label, and the sums of their targets and of one minus their targets.
void rarecall_count(const float* targets, int64_t entries, double* counts, int32_t threads) {
  double known = 0, present = 0;
#pragma omp parallel for schedule(static) reduction(+ : known, present) num_threads(threads) if (entries > WORTH_A_THREAD)
  for (int64_t chunk = 0; chunk < (entries + CHUNK - 1) / CHUNK; ++chunk) {
    const int64_t end = (chunk + 1) * CHUNK < entries ? (chunk + 1) * CHUNK : entries;
    float some_known = 0, some_present = 0;
#pragma omp simd reduction(+ : some_known, some_present)
    for (int64_t i = chunk * CHUNK; i < end; ++i) {
      some_known += targets[i] >= 0 ? 1.0f : 0.0f;
      some_present += targets[i] >= 0 ? targets[i] : 0.0f;
    }
    known += some_known;
    present += some_present;
  }
  counts[0] = known;
  counts[1] = present;
}
}
