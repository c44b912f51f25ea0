// Losses in single precision on a CPU: value and gradient in one pass, without temporaries.
//
// Python holds every formula too, as differentiable tensor operations, and tests hold the two equal. Here a
// formula is written once over `Dual`, a number with its derivative by the logit, so no gradient is derived by
// hand. Loops are left to the compiler to vectorise, which is why exp and log are written out.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif

#define INLINE static inline __attribute__((always_inline))

namespace {

constexpr float INFINITY_ = std::numeric_limits<float>::infinity();
constexpr float LOWEST = std::numeric_limits<float>::lowest();
constexpr int64_t CHUNK = 1024;           // entries summed in single precision before they join a double
constexpr int64_t WORTH_A_THREAD = 8192;  // entries

// The cases that Python asks for by number. It holds them under the same names and takes no library with others.
#define ENTRY_TERMS(X) \
  X(CROSS_ENTROPY) X(FOCAL) X(ASYMMETRIC) X(HILL) X(SHIFTED_FOCAL) X(REBALANCED) X(GENERALIZED_ROBUST) X(ENTROPY) \
  X(SELECTED) X(EXPECTED) X(SHIFTED)
#define SET_SCORES(X) X(LINEAR) X(CIRCLE)
#define SET_TERMS(X) X(MARGIN) X(SEPARATE) X(CONSTRAINED) X(SOFTMAX)
#define ENUMERATOR(name) name,
#define WORD(name) " " #name

enum class EntryTerm : int32_t { ENTRY_TERMS(ENUMERATOR) };
enum class SetScore : int32_t { SET_SCORES(ENUMERATOR) };
enum class SetTerm : int32_t { SET_TERMS(ENUMERATOR) };

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
  bits -= exponent * (1 << 23);
  float mantissa;
  std::memcpy(&mantissa, &bits, 4);
  const float nothing = 0.0f * x;  // or not a number, if x is none
  return twice_atanh((mantissa - 1.0f) / (mantissa + 1.0f)) + (static_cast<float>(exponent) * 0.693147181f + nothing);
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
// (1 - exp(-x)) / q for x = q * a, exact also where q is small; `inverse` is 1 / q
INLINE Dual power_loss(Dual a, float q, float inverse) {
  const float x = q * a.value, e = exponential(-x);
  const float series = x * (1.0f - x * (0.5f - x * (1.0f / 6 - x * (1.0f / 24 - x * (1.0f / 120)))));
  return {(x < 0.2f ? series : 1.0f - e) * inverse, e * a.slope};
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

// What a term may depend on besides the logit and the target: options `o`, the class, the row, and the entry.
struct Context {
  const float* o;
  ClassOptions c;
  float share;  // of the row's rarity that one unit of a class's is
  float extra;  // of the entry
};

// A loss of two sides gives the term of either. Where no target is soft, only one side of an entry is computed.
template <class Loss, bool HARD>
struct TwoSided {
  INLINE Terms terms(const Context& x, float z, float y) {
    if (HARD) {
      const Dual side = Loss().side(x, z, y > 0);
      return {side, side, {0, 0}};
    }
    return {Loss().side(x, z, true), Loss().side(x, z, false), {0, 0}};
  }
};

// The logistic of how wrong an entry is: of -z if it is present and of z if it is absent.
INLINE Logistic wrong(float z, bool present, float scale = 1.0f, float bias = 0.0f) {
  const float sign = present ? -1.0f : 1.0f;
  return logistic(sign * (scale * z + bias), sign * scale);
}

// Powers by products where every exponent is a whole number up to 7, else by logarithms.
template <bool WHOLE>
INLINE Dual power(Dual base, Dual minus_log, float exponent) {
  if (!WHOLE) return exponential(-exponent * minus_log);
  const int32_t n = static_cast<int32_t>(exponent);
  const Dual one = {1.0f, 0.0f}, square = base * base, fourth = square * square;
  const Dual a = {n & 1 ? base.value : one.value, n & 1 ? base.slope : one.slope};
  const Dual b = {n & 2 ? square.value : one.value, n & 2 ? square.slope : one.slope};
  const Dual c = {n & 4 ? fourth.value : one.value, n & 4 ? fourth.slope : one.slope};
  return a * b * c;
}

template <bool WHOLE>
INLINE Dual focused(const Logistic& x, float gamma) {
  return power<WHOLE>(x.p, x.loss_present, gamma) * x.loss_absent;
}

struct CrossEntropy {
  INLINE Terms terms(const Context&, float z, float) {
    const Logistic x = logistic(z);
    return {x.loss_present, x.loss_absent, x.loss_absent};  // for rules that take an unknown entry as absent
  }
};

struct Selected {  // cross-entropy whose absent term is weighed by the entry
  INLINE Terms terms(const Context& x, float z, float) {
    const Logistic at = logistic(z);
    return {at.loss_present, x.extra * at.loss_absent, {0, 0}};
  }
};

template <bool WHOLE>
struct Focal {  // options: gamma of present, of absent, weight of present, of absent
  INLINE Dual side(const Context& x, float z, bool present) {
    return (present ? x.o[2] : x.o[3]) * focused<WHOLE>(wrong(z, present), present ? x.o[0] : x.o[1]);
  }
};

template <bool WHOLE>
struct Asymmetric {  // options: gamma of present, of absent, margin, whether the focus is a constant
  INLINE Dual side(const Context& x, float z, bool present) {
    const Logistic at = wrong(z, present);
    const float margin = present ? 0.0f : x.o[2], gamma = present ? x.o[0] : x.o[1];
    const float shifted = at.p.value - margin, rest = at.q.value + margin;
    const bool whole = margin == 0, easy = shifted <= (whole ? -1.0f : 0.0f);
    const float base = shifted <= 0 ? 1e-30f : shifted;
    Dual distance = {0.0f, 0.0f};  // which powers by products do not need
    if (!WHOLE)
      distance = {whole ? at.loss_present.value : -logarithm(base), whole ? at.loss_present.slope : -at.p.slope / base};
    const Dual loss = {whole ? at.loss_absent.value : -logarithm(rest),
                       whole ? at.loss_absent.slope : at.p.slope / rest};
    Dual focus = power<WHOLE>({base, at.p.slope}, distance, gamma);
    focus.slope = x.o[3] != 0 ? 0.0f : focus.slope;
    const Dual term = focus * loss;
    return {easy ? 0.0f : term.value, easy ? 0.0f : term.slope};
  }
};

template <bool WHOLE>
struct Hill {  // options: margin, gamma, lambda
  INLINE Dual side(const Context& x, float z, bool present) {
    const Logistic at = wrong(z, present, 1.0f, present ? -x.o[0] : 0.0f);
    const Dual of_present = focused<WHOLE>(at, x.o[1]), of_absent = (x.o[2] - at.p) * (at.p * at.p);
    return {present ? of_present.value : of_absent.value, present ? of_present.slope : of_absent.slope};
  }
};

template <bool WHOLE>
struct ShiftedFocal {  // options: margin, gamma, logit above which an absent entry counts as present
  INLINE Dual side(const Context& x, float z, bool present) {
    const bool counts = present || z > x.o[2];
    return focused<WHOLE>(wrong(z, counts, 1.0f, counts ? -x.o[0] : 0.0f), x.o[1]);
  }
};

// options: scale of present, of absent, gamma; and an entry's weight, o[5] + o[6] sigmoid(o[3] (share - o[4]))
template <bool WHOLE>
struct Rebalanced {
  INLINE Dual side(const Context& x, float z, bool present) {
    const float weight = x.o[5] + x.o[6] / (1.0f + exponential(x.o[3] * (x.o[4] - x.c.rarity * x.share)));
    const float scale = present ? x.o[0] : x.o[1], bias = present ? x.c.present_bias : x.c.absent_bias;
    return weight * focused<WHOLE>(wrong(z, present, scale, bias), x.o[2]);
  }
};

struct Shifted {  // options: scale of present, of absent
  INLINE Dual side(const Context& x, float z, bool present) {
    const float scale = present ? x.o[0] : x.o[1], bias = present ? x.c.present_bias : x.c.absent_bias;
    return wrong(z, present, scale, bias).loss_absent;
  }
};

template <bool UNIT>        // q3 is 1, where 1 - (1 - p)^q3 is p
struct GeneralizedRobust {  // options: w, b, mu, 1 / (2 sigma²), q2, q3, 1 / q2, 1 / q3
  INLINE Terms terms(const Context& x, float z, float) {
    const Logistic at = logistic(z);
    const float p = at.p.value, k = 1.0f / (1.0f + exponential(-(x.o[0] * p + x.o[1])));
    const float v = exponential(-(p - x.o[2]) * (p - x.o[2]) * x.o[3]);
    const Dual as_present = power_loss(at.loss_present, x.o[4], x.o[6]);
    const Dual as_absent = UNIT ? at.p : power_loss(at.loss_absent, x.o[5], x.o[7]);
    return {at.loss_present, at.loss_absent, (v * k) * as_present + (v * (1.0f - k)) * as_absent};
  }
};

struct Entropy {  // options: alpha
  INLINE Terms terms(const Context& x, float z, float) {
    const Logistic at = logistic(z);
    return {at.loss_present, at.loss_absent, -x.o[0] * (at.p * at.loss_present + at.q * at.loss_absent)};
  }
};

// Cross-entropy of known entries, and the gradient, without the value, of o[0] times the probability.
struct Expected {
  INLINE Terms terms(const Context& x, float z, float) {
    const Logistic at = logistic(z);
    const Dual always = {0.0f, x.o[0] * at.p.slope};
    return {at.loss_present + always, at.loss_absent + always, always};
  }
};

struct Problem {
  const float *logits, *targets;
  int64_t rows, columns;
  const float* options;
  const float* const* classes;  // five rows of columns by the order of ClassOptions, or null
  const float* row_weights;  // rows, or null
  const float* extras;       // rows x columns, or null
  float present, absent, unknown, soft;
  float* gradient;  // rows x columns, or null
};

struct Scales {
  float present, absent, unknown, soft;
};

// Functions of one entry keep the loops over them free of structures, which would not be vectorised.
template <class Loss, bool BY_CLASS>
INLINE Dual one_entry(const float* o, const float* const* classes, int64_t c, float share, float extra,
                      const Scales& scales, float z, float y) {
  const bool known = y >= 0;
  ClassOptions own;
  if (BY_CLASS) own = {classes[0][c], classes[1][c], classes[2][c], classes[3][c], classes[4][c]};
  const Terms term = Loss().terms({o, own, share, extra}, known || scales.unknown != 0 ? z : 0.0f, y);
  const float soft = y > 0 && y < 1 ? scales.soft : 1.0f;
  const float present = known ? soft * scales.present * own.present_weight * y : 0.0f;
  const float absent = known ? soft * scales.absent * own.absent_weight * (1.0f - y) : 0.0f;
  const float unknown = known ? 0.0f : scales.unknown;
  return present * term.present + (absent * term.absent + unknown * term.unknown);
}

template <class Loss, bool BY_CLASS, bool EXTRA>
double one_row(const Problem& problem, int64_t row, float* gradient) {
  const int64_t columns = problem.columns;
  const float *z = problem.logits + row * columns, *y = problem.targets + row * columns;
  const float row_weight = problem.row_weights ? problem.row_weights[row] : 1.0f;
  const float* extras = EXTRA ? problem.extras + row * columns : nullptr;
  float share = 0;
  if (BY_CLASS) {
    float total = 0;
    const float* rarity = problem.classes[4];
#pragma omp simd reduction(+ : total)
    for (int64_t c = 0; c < columns; ++c) total += (y[c] > 0 ? y[c] : 0.0f) * rarity[c];
    share = total > 0 ? 1.0f / total : 1e30f;
  }
  float options[8];
  for (int i = 0; i < 8; ++i) options[i] = problem.options[i];
  const float* classes[5] = {};
  for (int i = 0; i < 5 && BY_CLASS; ++i) classes[i] = problem.classes[i];
  const Scales scales = {problem.present * row_weight, problem.absent * row_weight, problem.unknown * row_weight,
                         problem.soft};
  double total = 0;
  for (int64_t start = 0; start < columns; start += CHUNK) {
    const int64_t end = start + CHUNK < columns ? start + CHUNK : columns;
    float values[CHUNK];
#pragma GCC ivdep
    for (int64_t c = start; c < end; ++c) {
      const Dual term = one_entry<Loss, BY_CLASS>(options, classes, c, share, EXTRA ? extras[c] : 0.0f, scales, z[c], y[c]);
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

// Adding in one order gives the same bits with any number of threads.
double in_order(const std::vector<double>& parts) {
  double total = 0;
  for (const double part : parts) total += part;
  return total;
}

template <class Loss, bool EXTRA = false>
double all_rows(const Problem& problem, int threads) {
  std::vector<double> totals(problem.rows);
#pragma omp parallel num_threads(threads) if (problem.rows * problem.columns > WORTH_A_THREAD)
  {
    std::vector<float> unwanted(problem.gradient ? 0 : problem.columns);
#pragma omp for schedule(static)
    for (int64_t row = 0; row < problem.rows; ++row) {
      float* gradient = problem.gradient ? problem.gradient + row * problem.columns : unwanted.data();
      totals[row] = problem.classes ? one_row<Loss, true, EXTRA>(problem, row, gradient)
                                    : one_row<Loss, false, EXTRA>(problem, row, gradient);
    }
  }
  return in_order(totals);
}

template <class Loss>
double all_sides(const Problem& problem, bool hard, int threads) {
  return hard ? all_rows<TwoSided<Loss, true>>(problem, threads) : all_rows<TwoSided<Loss, false>>(problem, threads);
}

// Of a loss whose exponents are the options from `first` on.
template <template <bool> class Loss>
double all_powers(const Problem& problem, bool hard, int threads, int first, int number) {
  bool whole = true;
  for (int i = first; i < first + number; ++i) {
    const float exponent = problem.options[i];
    whole = whole && exponent <= 7 && exponent == std::floor(exponent);
  }
  return whole ? all_sides<Loss<true>>(problem, hard, threads) : all_sides<Loss<false>>(problem, hard, threads);
}

// --- two matrices of logits that teach each other --------------------------------------------------------------

// A probability and its complement in one number, so that neither loses digits: p, or p - 1 from a half on.
INLINE float tail_of(const Logistic& x) { return x.p.value < 0.5f ? x.p.value : -x.q.value; }
INLINE float present_of(float tail) { return tail > 0 ? tail : 1.0f + tail; }
INLINE float absent_of(float tail) { return tail > 0 ? 1.0f - tail : -tail; }

// How much the present and the absent term of an entry weigh: by its label if that is known, and by what the other
// matrix takes it for.
struct Lesson {
  float present, absent;
};
INLINE Lesson lesson(float y, float p, float q) { return {y >= 0 ? p + y : p, y >= 0 ? q + (1.0f - y) : q}; }
INLINE float loss_of(const Logistic& x, Lesson by) {
  return by.present * x.loss_present.value + by.absent * x.loss_absent.value;
}

struct Taught {
  double losses[2], probabilities[2], labels;  // of the logits and of the estimates; targets that are labels
};

// The sums of a row; and its tails, for `slopes_of_row`, where the gradients will be.
Taught taught_row(const float* z, const float* estimates, const float* y, int64_t columns, float* tails,
                  float* tails_of_estimates) {
  Taught total = {};
  for (int64_t start = 0; start < columns; start += CHUNK) {
    const int64_t end = start + CHUNK < columns ? start + CHUNK : columns;
    float own = 0, other = 0, p = 0, q = 0, labels = 0;
#pragma omp simd reduction(+ : own, other, p, q, labels)
    for (int64_t c = start; c < end; ++c) {
      const Logistic a = logistic(z[c]), b = logistic(estimates[c]);
      own += loss_of(a, lesson(y[c], b.p.value, b.q.value));
      other += loss_of(b, lesson(y[c], a.p.value, a.q.value));
      p += a.p.value;
      q += b.p.value;
      labels += y[c] <= 1 ? 1.0f : 0.0f;  // not so what is not a number
      tails[c] = tail_of(a);
      tails_of_estimates[c] = tail_of(b);
    }
    total = {{total.losses[0] + own, total.losses[1] + other},
             {total.probabilities[0] + p, total.probabilities[1] + q},
             total.labels + labels};
  }
  return total;
}

// The gradient by a logit, times the scale; `push` is what the gradient of the probability is multiplied by besides.
INLINE float slope_of(float tail, Lesson by, float push, float scale) {
  const float p = present_of(tail), q = absent_of(tail);
  return scale * (by.absent * p - by.present * q + push * p * q);
}

void slopes_of_row(const float* y, int64_t columns, const float* pushes, float scale, float* tails,
                   float* tails_of_estimates) {
  const float push = pushes[0], push_of_estimates = pushes[1];
#pragma GCC ivdep
  for (int64_t c = 0; c < columns; ++c) {
    const float a = tails[c], b = tails_of_estimates[c];
    tails[c] = slope_of(a, lesson(y[c], present_of(b), absent_of(b)), push, scale);
    tails_of_estimates[c] = slope_of(b, lesson(y[c], present_of(a), absent_of(a)), push_of_estimates, scale);
  }
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
    // How far the probability is from where it should be: 1 - sigmoid(z) if positive, else sigmoid(z).
    const float wrong = positive ? -z : z;
    const float e = exponential(-std::fabs(wrong)), r = 1.0f / (1.0f + e), low = e * r;
    const float gap = wrong >= 0 ? r : low, far = gap + o[1];
    const float pace = o[0] * (far > 0 ? far : 0.0f), slope = pace * r * low;
    return {pace * (gap - o[1]), positive ? -slope : slope};
  }
};

struct Pairs {
  const float *logits, *targets;
  int64_t rows, columns, bucket;  // a column reaches over so many consecutive rows
  const float* options;
  float *negative_rows, *positive_rows, *negative_columns, *positive_columns;  // log-sum-exp, or null
};

int64_t buckets_of(int64_t rows, int64_t bucket) { return (rows + bucket - 1) / bucket; }

// Scores of the entries of each kind, minus infinity for the others.
template <class Score>
INLINE void both(const float* o, float z, float y, float& negative, float& positive) {
  const bool is_positive = y > 0, is_negative = y == 0;
  const float score = Score().score(o, is_positive || is_negative ? z : 0.0f, is_positive).value;
  negative = is_negative ? score : -INFINITY_;
  positive = is_positive ? score : -INFINITY_;
}

template <class Score>
INLINE void scored(const float* o, float z, float y, float& score, float& slope) {
  const bool is_positive = y > 0;
  const Dual result = Score().score(o, is_positive || y == 0 ? z : 0.0f, is_positive);
  score = result.value;
  slope = result.slope;
}

INLINE float finite_or_zero(float x) { return x == -INFINITY_ ? 0.0f : x; }

// exp(score - reference) of the entries of each kind, 0 for the others.
template <class Score>
INLINE void shares(const float* o, float z, float y, float below, float above, float& negative, float& positive) {
  const bool is_positive = y > 0, is_negative = y == 0;
  const float score = Score().score(o, is_positive || is_negative ? z : 0.0f, is_positive).value;
  const float e = exponential(score - (is_positive ? above : below));
  negative = is_negative ? e : 0.0f;
  positive = is_positive ? e : 0.0f;
}

// Of a sum of shares; an empty set has minus infinity, and what is not a number stays so.
INLINE float log_of(double sum, float reference) {
  return sum == 0 ? -INFINITY_ : reference + static_cast<float>(std::log(sum));
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
  pairs.negative_rows[row] = log_of(negatives, below);
  pairs.positive_rows[row] = log_of(positives, above);
}

constexpr int64_t BAND = 128;  // columns that are gone down together, so that they stay in the cache

template <class Score>
void lse_of_columns(const Pairs& pairs, int64_t which, int64_t start, int64_t end) {
  const int64_t top = which * pairs.bucket, bottom = top + pairs.bucket < pairs.rows ? top + pairs.bucket : pairs.rows;
  const float o[2] = {pairs.options[0], pairs.options[1]};
  const int64_t width = end - start;
  float below[BAND], above[BAND];
  double negatives[BAND] = {}, positives[BAND] = {};
  for (int64_t c = 0; c < BAND; ++c) below[c] = above[c] = -INFINITY_;
  for (int64_t row = top; row < bottom; ++row) {
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
  for (int64_t first = top; first < bottom; first += CHUNK) {
    const int64_t last = first + CHUNK < bottom ? first + CHUNK : bottom;
    float some_negatives[BAND] = {}, some_positives[BAND] = {};
    for (int64_t row = first; row < last; ++row) {
      const float *z = pairs.logits + row * pairs.columns + start, *y = pairs.targets + row * pairs.columns + start;
#pragma GCC ivdep
      for (int64_t c = 0; c < width; ++c) {
        float negative, positive;
        shares<Score>(o, z[c], y[c], below[c], above[c], negative, positive);
        some_negatives[c] += negative;
        some_positives[c] += positive;
      }
    }
    for (int64_t c = 0; c < width; ++c) {
      negatives[c] += some_negatives[c];
      positives[c] += some_positives[c];
    }
  }
  for (int64_t c = 0; c < width; ++c) {
    pairs.negative_columns[which * pairs.columns + start + c] = log_of(negatives[c], below[c]);
    pairs.positive_columns[which * pairs.columns + start + c] = log_of(positives[c], above[c]);
  }
}

template <class Score>
void all_lse(const Pairs& pairs, int threads) {
#pragma omp parallel num_threads(threads) if (pairs.rows * pairs.columns > WORTH_A_THREAD)
  {
    if (pairs.negative_rows) {
#pragma omp for schedule(static) nowait
      for (int64_t row = 0; row < pairs.rows; ++row) lse_of_row<Score>(pairs, row);
    }
    if (pairs.negative_columns) {
      const int64_t bands = (pairs.columns + BAND - 1) / BAND;
#pragma omp for schedule(dynamic)
      for (int64_t part = 0; part < buckets_of(pairs.rows, pairs.bucket) * bands; ++part) {
        const int64_t start = part % bands * BAND, end = start + BAND < pairs.columns ? start + BAND : pairs.columns;
        lse_of_columns<Score>(pairs, part / bands, start, end);
      }
    }
  }
}

// The softmax of an entry within its set, times what comes down to the set's log-sum-exp.
INLINE float share_of(float score, bool is_positive, float below, float above, float down_below, float down_above) {
  return (is_positive ? down_above : down_below) * exponential(score - (is_positive ? above : below));
}

template <class Score, bool ROWS, bool COLUMNS, bool ADD>
void gradient_of_row(const Pairs& pairs, const Pairs& down, int64_t row, float* gradient) {
  const int64_t columns = pairs.columns;
  const float *z = pairs.logits + row * columns, *y = pairs.targets + row * columns;
  const float o[2] = {pairs.options[0], pairs.options[1]};
  const float row_below = ROWS ? pairs.negative_rows[row] : 0, row_above = ROWS ? pairs.positive_rows[row] : 0;
  const float row_down_below = ROWS ? down.negative_rows[row] : 0, row_down_above = ROWS ? down.positive_rows[row] : 0;
  const int64_t place = COLUMNS ? row / pairs.bucket * columns : 0;
  const float *below = pairs.negative_columns + place, *above = pairs.positive_columns + place;
  const float *down_below = down.negative_columns + place, *down_above = down.positive_columns + place;
  float scores[CHUNK], slopes[CHUNK];
  for (int64_t start = 0; start < columns; start += CHUNK) {
    const int64_t length = start + CHUNK < columns ? CHUNK : columns - start;
#pragma GCC ivdep
    for (int64_t i = 0; i < length; ++i) scored<Score>(o, z[start + i], y[start + i], scores[i], slopes[i]);
#pragma GCC ivdep
    for (int64_t i = 0; i < length; ++i) {
      const int64_t c = start + i;
      const bool is_positive = y[c] > 0;
      float sum = 0;
      if (ROWS) sum += share_of(scores[i], is_positive, row_below, row_above, row_down_below, row_down_above);
      if (COLUMNS) sum += share_of(scores[i], is_positive, below[c], above[c], down_below[c], down_above[c]);
      gradient[c] = (ADD ? gradient[c] : 0.0f) + (is_positive || y[c] == 0 ? sum * slopes[i] : 0.0f);
    }
  }
}

template <class Score, bool ADD>
void all_gradients(const Pairs& pairs, const Pairs& down, float* gradient, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (pairs.rows * pairs.columns > WORTH_A_THREAD)
  for (int64_t row = 0; row < pairs.rows; ++row) {
    float* own = gradient + row * pairs.columns;
    if (pairs.negative_rows && pairs.negative_columns)
      gradient_of_row<Score, true, true, ADD>(pairs, down, row, own);
    else if (pairs.negative_rows)
      gradient_of_row<Score, true, false, ADD>(pairs, down, row, own);
    else
      gradient_of_row<Score, false, true, ADD>(pairs, down, row, own);
  }
}

// How many sets there are: rows, and columns in each bucket.
int64_t sets_of(int64_t rows, int64_t columns, int64_t bucket, bool by_row, bool by_column) {
  return (by_row ? rows : 0) + (by_column ? buckets_of(rows, bucket) * columns : 0);
}

Pairs pairs_of(const float* logits, const float* targets, int64_t rows, int64_t columns, int64_t bucket,
               const float* options, bool by_row, bool by_column, float* sets) {
  // Of the sets, negatives first.
  const int64_t length = sets_of(rows, columns, bucket, by_row, by_column);
  float* of_columns = sets + (by_row ? rows : 0);
  return {logits, targets, rows, columns, bucket, options, by_row ? sets : nullptr, by_row ? sets + length : nullptr,
          by_column ? of_columns : nullptr, by_column ? of_columns + length : nullptr};
}

// Sums of y and of y z over the positives of each set, for the softmax against labels that share one.
void shares_of_positives(const float* logits, const float* targets, int64_t rows, int64_t columns, bool by_row,
                         bool by_column, double* weights, double* weighted, int threads) {
  double *of_columns = weights + (by_row ? rows : 0), *weighted_columns = weighted + (by_row ? rows : 0);
#pragma omp parallel num_threads(threads) if (rows * columns > WORTH_A_THREAD)
  {
    if (by_row) {
#pragma omp for schedule(static) nowait
      for (int64_t row = 0; row < rows; ++row) {
        const float *z = logits + row * columns, *y = targets + row * columns;
        for (int64_t start = 0; start < columns; start += CHUNK) {
          const int64_t end = start + CHUNK < columns ? start + CHUNK : columns;
          float weight = 0, sum = 0;
#pragma omp simd reduction(+ : weight, sum)
          for (int64_t c = start; c < end; ++c) {
            weight += y[c] > 0 ? y[c] : 0.0f;
            sum += y[c] > 0 ? y[c] * z[c] : 0.0f;
          }
          weights[row] += weight;
          weighted[row] += sum;
        }
      }
    }
    if (by_column) {
#pragma omp for schedule(static)
      for (int64_t band = 0; band < (columns + BAND - 1) / BAND; ++band) {
        const int64_t start = band * BAND, width = start + BAND < columns ? BAND : columns - start;
        for (int64_t first = 0; first < rows; first += CHUNK) {
          const int64_t last = first + CHUNK < rows ? first + CHUNK : rows;
          float weight[BAND] = {}, sum[BAND] = {};
          for (int64_t row = first; row < last; ++row) {
            const float *z = logits + row * columns + start, *y = targets + row * columns + start;
#pragma GCC ivdep
            for (int64_t c = 0; c < width; ++c) {
              weight[c] += y[c] > 0 ? y[c] : 0.0f;
              sum[c] += y[c] > 0 ? y[c] * z[c] : 0.0f;
            }
          }
          for (int64_t c = 0; c < width; ++c) {
            of_columns[start + c] += weight[c];
            weighted_columns[start + c] += sum[c];
          }
        }
      }
    }
  }
}

double softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// The term of one set and its derivatives by the log-sum-exps, n and p of one or two pairs.
struct Term {
  double value, n, p, second_n, second_p;
};

Term term_of(SetTerm kind, const float* o, double n, double p, double second_n, double second_p) {
  const double tn = o[0] * n, tp = o[1] * p;  // o: temperatures, bias, whether the second n and p take part
  if (kind == SetTerm::MARGIN) {
    const double slope = sigmoid(tn + tp + o[2]);
    return {softplus(tn + tp + o[2]), o[0] * slope, o[1] * slope, 0, 0};
  }
  if (kind == SetTerm::SEPARATE) return {softplus(tn) + softplus(tp), o[0] * sigmoid(tn), o[1] * sigmoid(tp), 0, 0};
  if (kind == SetTerm::SOFTMAX) {
    const double most = n > p ? n : p, e = std::exp(n - most), f = std::exp(p - most);
    return {most + std::log(e + f), e / (e + f), f / (e + f), 0, 0};
  }
  const double a = n + p, b = o[3] != 0 ? second_n : -INFINITY, c = o[4] != 0 ? second_p : -INFINITY;
  double most = a > 0 ? a : 0;
  most = b > most ? b : most;
  most = c > most ? c : most;
  const double ea = std::exp(a - most), eb = std::exp(b - most), ec = std::exp(c - most);
  const double total = std::exp(-most) + ea + eb + ec;
  return {most + std::log(total), ea / total, ea / total, eb / total, ec / total};
}

// The bits of a number such that larger numbers have larger ones.
INLINE uint32_t ordered(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// What an absent term is ranked by, minus infinity where there is none: the term, or where no target is soft, the
// logit, with which it rises.
void rank_row(const float* z, const float* y, int64_t columns, bool hard, float* ranks) {
#pragma GCC ivdep
  for (int64_t c = 0; c < (hard ? columns : 0); ++c) {
    const float finite = z[c] < LOWEST ? LOWEST : z[c];
    ranks[c] = y[c] == 0 ? finite : -INFINITY_;
  }
#pragma GCC ivdep
  for (int64_t c = 0; c < (hard ? 0 : columns); ++c) {
    const bool candidate = y[c] >= 0 && y[c] < 1;
    const float logit = candidate ? z[c] : 0.0f;
    const float loss = log_one_plus(exponential(-std::fabs(logit))) + (logit > 0 ? logit : 0.0f);
    ranks[c] = candidate ? (1.0f - y[c]) * loss : -INFINITY_;
  }
}

INLINE float of_ordered(uint32_t key) {
  const uint32_t bits = key & 0x80000000u ? key ^ 0x80000000u : ~key;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

// What is above the limit is selected, and a share of each that is equal to it.
struct Selection {
  float limit, share;
};

// The `selected` largest of the values, which are minus infinity where there is no candidate. The limit is looked for
// among the integers that have the same order: where it would be if the values were even, and every third time in
// the middle, so that no values take more than 96 counts; a few are usual.
Selection largest_of(const float* values, int64_t number, int64_t selected) {
  float smallest = INFINITY_, largest = -INFINITY_;
  int32_t candidates = 0;
#pragma omp simd reduction(min : smallest) reduction(max : largest) reduction(+ : candidates)
  for (int64_t i = 0; i < number; ++i) {
    candidates += values[i] > -INFINITY_ ? 1 : 0;
    smallest = values[i] > -INFINITY_ && values[i] < smallest ? values[i] : smallest;
    largest = values[i] > largest ? values[i] : largest;
  }
  const auto share = [](int64_t places, int64_t level) { return static_cast<float>(static_cast<double>(places) / level); };
  if (candidates < selected) return {-INFINITY_, share(selected - candidates, number - candidates)};
  // It is at or above `low`, as `at_low` values are, and below `high`, unlike `at_high`.
  int64_t low = ordered(smallest), high = static_cast<int64_t>(ordered(largest)) + 1;
  int64_t at_low = candidates, at_high = 0;
  for (int step = 1; at_low != selected && high - low > 1; ++step) {
    const double from = of_ordered(static_cast<uint32_t>(low)), to = of_ordered(static_cast<uint32_t>(high - 1));
    const double part = static_cast<double>(at_low - selected) / (at_low - at_high);
    const int64_t even = ordered(static_cast<float>(from + part * (to - from)));
    const int64_t guess = step % 3 == 0 ? low + (high - low) / 2 : even;
    const int64_t middle = guess <= low ? low + 1 : guess >= high ? high - 1 : guess;
    const float limit = of_ordered(static_cast<uint32_t>(middle));
    int32_t count = 0;
#pragma omp simd reduction(+ : count)
    for (int64_t i = 0; i < number; ++i) count += values[i] >= limit ? 1 : 0;
    if (count >= selected) {
      low = middle;
      at_low = count;
    } else {
      high = middle;
      at_high = count;
    }
  }
  return {of_ordered(static_cast<uint32_t>(low)), share(selected - at_high, at_low - at_high)};
}

}  // namespace

extern "C" {

// The version of this file that the library was compiled from.
const char* rarecall_source() { return RARECALL_SOURCE; }

// The names of its cases in the order of their numbers, those of one enumeration a line.
const char* rarecall_cases() {
  return "EntryTerm" ENTRY_TERMS(WORD) "\nSetScore" SET_SCORES(WORD) "\nSetTerm" SET_TERMS(WORD);
}

// The weighted sum of one term per entry; its gradient too unless `gradient` is null. Each of the five options of the
// classes, by the order of ClassOptions, is a row of columns or null.
// `extras` is a number for each entry or null; `hard` says that no target is soft.
double rarecall_pointwise(int32_t term, const float* logits, const float* targets, int64_t rows, int64_t columns,
                          const float* options, const float* const* classes, const float* row_weights,
                          const float* extras, int32_t hard, float present, float absent, float unknown, float soft,
                          float* gradient, int32_t threads) {
  const std::vector<float> ones(columns, 1.0f), zeros(columns, 0.0f);
  const float* filled[5];
  bool by_class = false;
  for (int i = 0; i < 5; ++i) {
    by_class = by_class || classes[i];
    filled[i] = classes[i] ? classes[i] : i < 2 ? ones.data() : zeros.data();
  }
  const Problem problem = {logits, targets, rows,    columns, options, by_class ? filled : nullptr, row_weights, extras,
                           present, absent, unknown, soft,    gradient};
  switch (static_cast<EntryTerm>(term)) {
    case EntryTerm::CROSS_ENTROPY: return all_rows<CrossEntropy>(problem, threads);
    case EntryTerm::FOCAL: return all_powers<Focal>(problem, hard, threads, 0, 2);
    case EntryTerm::ASYMMETRIC: return all_powers<Asymmetric>(problem, hard, threads, 0, 2);
    case EntryTerm::HILL: return all_powers<Hill>(problem, hard, threads, 1, 1);
    case EntryTerm::SHIFTED_FOCAL: return all_powers<ShiftedFocal>(problem, hard, threads, 1, 1);
    case EntryTerm::REBALANCED: return all_powers<Rebalanced>(problem, hard, threads, 2, 1);
    case EntryTerm::GENERALIZED_ROBUST:
      return options[5] == 1 ? all_rows<GeneralizedRobust<true>>(problem, threads)
                             : all_rows<GeneralizedRobust<false>>(problem, threads);
    case EntryTerm::ENTROPY: return all_rows<Entropy>(problem, threads);
    case EntryTerm::SELECTED: return all_rows<Selected, true>(problem, threads);
    case EntryTerm::EXPECTED: return all_rows<Expected>(problem, threads);
    case EntryTerm::SHIFTED: return all_sides<Shifted>(problem, hard, threads);
  }
  return std::numeric_limits<double>::quiet_NaN();
}

// A loss over rows, columns or both: what the SetTerm `kind` makes of the log-sum-exps of each set's negatives and positives.
//
// options: factors of negatives and positives for the first pair and for the second (if `pairs` is 2), or gamma and
// margin of the circle loss; then temperatures, bias, and whether the second negatives and positives take part.
// Columns are of `bucket` consecutive rows each; with the softmax, of all.
// `lse` and `down` are pairs x 2 x sets: the log-sum-exps, and the derivatives of the value by them. `weight` is what
// every term is multiplied by; 0 gives each way the mean over its terms, or over its buckets' means.
double rarecall_ranking(int32_t kind, int32_t score, int32_t pairs, const float* logits, const float* targets,
                        int64_t rows, int64_t columns, int64_t bucket, const float* options, int32_t by_row,
                        int32_t by_column, int32_t needs_positive, double weight, float* lse, float* down,
                        int32_t threads) {
  const int64_t from_columns = by_row ? rows : 0, sets = sets_of(rows, columns, bucket, by_row, by_column);
  const SetTerm term_kind = static_cast<SetTerm>(kind);
  const bool linear = static_cast<SetScore>(score) == SetScore::LINEAR, softmax = term_kind == SetTerm::SOFTMAX;
  for (int k = 0; k < pairs; ++k) {
    const Pairs one = pairs_of(logits, targets, rows, columns, bucket, options + 2 * k, by_row, by_column, lse + 2 * k * sets);
    linear ? all_lse<Linear>(one, threads) : all_lse<Circle>(one, threads);
  }
  const float *n = lse, *p = lse + sets, *second_n = pairs > 1 ? lse + 2 * sets : n, *second_p = pairs > 1 ? second_n + sets : p;
  std::vector<double> weights, weighted;
  if (softmax) {
    weights.assign(sets, 0.0);
    weighted.assign(sets, 0.0);
    shares_of_positives(logits, targets, rows, columns, by_row, by_column, weights.data(), weighted.data(),
                        threads);
  }
  const auto counts = [=](int64_t i) { return p[i] != -INFINITY || (!needs_positive && n[i] != -INFINITY); };
  double value = 0;
  for (int way = 0; way < 2; ++way) {
    const int64_t first = way == 0 ? 0 : from_columns, last = way == 0 ? from_columns : sets;
    const int64_t length = way == 0 ? rows : columns;  // of the sets that have a mean
    std::vector<int64_t> counted;
    for (int64_t start = first; start < last; start += length) {
      counted.push_back(0);
      for (int64_t i = start; i < start + length; ++i) counted.back() += counts(i);
    }
    const auto means = counted.size() - std::count(counted.begin(), counted.end(), 0);
    for (int64_t i = first; i < last; ++i) {
      const int64_t number = counted[(i - first) / length];
      const double each = weight != 0 ? weight : number ? 1.0 / number / means : 0.0;
      Term term = counts(i) ? term_of(term_kind, options + 4, n[i], p[i], second_n[i], second_p[i]) : Term{};
      if (softmax && counts(i)) term.value -= weighted[i] / weights[i];
      value += each * term.value;
      down[i] = each * term.n;
      down[sets + i] = each * term.p;
      if (pairs > 1) {
        down[2 * sets + i] = each * term.second_n;
        down[3 * sets + i] = each * term.second_p;
      }
      if (softmax) down[2 * sets + i] = weights[i] > 0 ? each / weights[i] : 0.0;  // to y z, behind the two
    }
  }
  return value;
}

void rarecall_ranking_gradient(int32_t kind, int32_t score, int32_t pairs, const float* logits, const float* targets,
                               int64_t rows, int64_t columns, int64_t bucket, const float* options, int32_t by_row,
                               int32_t by_column, float* lse, float* down, float* gradient, int32_t threads) {
  const int64_t from_columns = by_row ? rows : 0, sets = sets_of(rows, columns, bucket, by_row, by_column);
  const bool linear = static_cast<SetScore>(score) == SetScore::LINEAR;
  for (int k = 0; k < pairs; ++k) {
    const int64_t place = 2 * k * sets;
    const Pairs one = pairs_of(logits, targets, rows, columns, bucket, options + 2 * k, by_row, by_column, lse + place);
    const Pairs in = pairs_of(logits, targets, rows, columns, bucket, options + 2 * k, by_row, by_column, down + place);
    if (k > 0)
      linear ? all_gradients<Linear, true>(one, in, gradient, threads)
             : all_gradients<Circle, true>(one, in, gradient, threads);
    else
      linear ? all_gradients<Linear, false>(one, in, gradient, threads)
             : all_gradients<Circle, false>(one, in, gradient, threads);
  }
  if (static_cast<SetTerm>(kind) != SetTerm::SOFTMAX) return;
#pragma omp parallel for schedule(static) num_threads(threads) if (rows * columns > WORTH_A_THREAD)
  for (int64_t row = 0; row < rows; ++row) {
    const float* y = targets + row * columns;
    const float of_row = by_row ? down[2 * sets + row] : 0.0f;
    const float* of_columns = by_column ? down + 2 * sets + from_columns : nullptr;
    for (int64_t c = 0; c < columns; ++c) {
      if (y[c] > 0) gradient[row * columns + c] -= y[c] * (of_row + (of_columns ? of_columns[c] : 0.0f));
    }
  }
}

// The cross-entropy of logits and of estimates against the known labels and against each other, and how far the
// number of positives of either is from the expected one: both values, times the factor, and the gradients. Whether
// the targets are labels; if not, there are none.
int32_t rarecall_teach(const float* logits, const float* estimates, const float* targets, int64_t rows,
                       int64_t columns, double expected, double factor, double* values, float* gradient,
                       float* gradient_of_estimates, int32_t threads) {
  std::vector<Taught> parts(rows);
  const bool wanted = gradient && gradient_of_estimates;
#pragma omp parallel num_threads(threads) if (rows * columns > WORTH_A_THREAD)
  {
    std::vector<float> unwanted(wanted ? 0 : 2 * columns);
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t place = row * columns;
      float* tails = wanted ? gradient + place : unwanted.data();
      float* others = wanted ? gradient_of_estimates + place : unwanted.data() + columns;
      parts[row] = taught_row(logits + place, estimates + place, targets + place, columns, tails, others);
    }
  }
  const double entries = static_cast<double>(rows) * columns;
  double labels = 0;
  for (const Taught& part : parts) labels += part.labels;
  if (labels != entries) return 0;
  float pushes[2];
  for (int i = 0; i < 2; ++i) {
    double loss = 0, positives = 0;
    for (const Taught& part : parts) {
      loss += part.losses[i];
      positives += part.probabilities[i];
    }
    const double excess = (positives / rows - expected) / columns;
    values[i] = factor * (loss / entries + excess * excess);
    pushes[i] = static_cast<float>(2 * excess);
  }
  const float scale = static_cast<float>(factor / entries);
#pragma omp parallel for schedule(static) num_threads(threads) if (rows * columns > WORTH_A_THREAD)
  for (int64_t row = 0; row < (wanted ? rows : 0); ++row) {
    const int64_t place = row * columns;
    slopes_of_row(targets + place, columns, pushes, scale, gradient + place, gradient_of_estimates + place);
  }
  return 1;
}

// For each row, how much of each entry's absent term is among the `selected` largest: 1, a share if several are as
// large as the least of them, or 0. Candidates are the known entries that are not wholly present. Returns the number of
// rows with a known entry.
int64_t rarecall_select(const float* logits, const float* targets, int64_t rows, int64_t columns, int64_t selected,
                        float* chosen, int32_t threads) {
  int64_t with_known = 0;
#pragma omp parallel for schedule(static) num_threads(threads) if (rows * columns > WORTH_A_THREAD) reduction(+ : with_known)
  for (int64_t row = 0; row < rows; ++row) {
    const float *z = logits + row * columns, *y = targets + row * columns;
    float* own = chosen + row * columns;
    int32_t known = 0, soft = 0;
#pragma omp simd reduction(+ : known, soft)
    for (int64_t c = 0; c < columns; ++c) {
      known += y[c] >= 0 ? 1 : 0;
      soft += y[c] > 0 && y[c] < 1 ? 1 : 0;
    }
    with_known += known > 0;
    rank_row(z, y, columns, soft == 0, own);
    const Selection of_row = largest_of(own, columns, selected);
    const float limit = of_row.limit, share = of_row.share;
#pragma GCC ivdep
    for (int64_t c = 0; c < columns; ++c) own[c] = own[c] > limit ? 1.0f : own[c] == limit ? share : 0.0f;
  }
  return with_known;
}

// The sum of the sigmoids.
double rarecall_probability(const float* logits, int64_t entries, int32_t threads) {
  std::vector<double> totals((entries + CHUNK - 1) / CHUNK);
#pragma omp parallel for schedule(static) num_threads(threads) if (entries > WORTH_A_THREAD)
  for (int64_t chunk = 0; chunk < (entries + CHUNK - 1) / CHUNK; ++chunk) {
    const int64_t start = chunk * CHUNK, length = start + CHUNK < entries ? CHUNK : entries - start;
    float values[CHUNK], sum = 0;
#pragma GCC ivdep
    for (int64_t i = 0; i < length; ++i) {
      const float e = exponential(-std::fabs(logits[start + i])), r = 1.0f / (1.0f + e);
      values[i] = logits[start + i] >= 0 ? r : e * r;
    }
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < length; ++i) sum += values[i];
    totals[chunk] = sum;
  }
  return in_order(totals);
}

// Targets with unknown entries as absent ones, but `value` for the `number` unknown entries with the largest logits,
// of equal ones those that come first. Whether there was an unknown entry; if not, nothing was written.
int32_t rarecall_believe(const float* logits, const float* targets, int64_t entries, int64_t number, float value,
                         float* believed, int32_t threads) {
  const int shift = entries > (1 << 20) ? 16 : 20;  // bits of a number that its bin leaves out
  const int64_t number_of_bins = int64_t{1} << (32 - shift);
  const auto candidate = [=](int64_t i) { return targets[i] < 0 && logits[i] == logits[i]; };  // what is not a number
  std::vector<int64_t> bins(number_of_bins, 0);                                                // shall not be hidden
  int64_t unknown = 0;
#pragma omp parallel num_threads(threads) if (entries > WORTH_A_THREAD) reduction(+ : unknown)
  {
    std::vector<int32_t> own;
#pragma omp for schedule(static)
    for (int64_t start = 0; start < entries; start += CHUNK) {
      const int64_t end = start + CHUNK < entries ? start + CHUNK : entries;
      int32_t some = 0;
#pragma omp simd reduction(+ : some)
      for (int64_t i = start; i < end; ++i) some += targets[i] < 0 ? 1 : 0;
      if (!some) continue;
      unknown += some;
      if (own.empty()) own.assign(number_of_bins, 0);
      for (int64_t i = start; i < end; ++i) {
        if (candidate(i)) ++own[ordered(logits[i]) >> shift];
      }
    }
#pragma omp critical
    for (size_t bin = 0; bin < own.size(); ++bin) bins[bin] += own[bin];
  }
  if (!unknown) return 0;
  // The bin in which the last of the largest lies, how many of that bin are among them, and the least of these.
  int64_t bin = number_of_bins - 1, left = number;
  while (bin > 0 && bins[bin] < left) left -= bins[bin--];
  left = left < bins[bin] ? left : bins[bin];
  std::vector<uint32_t> inside;
  inside.reserve(bins[bin]);
  for (int64_t i = 0; left > 0 && i < entries; ++i) {
    const uint32_t key = ordered(logits[i]);
    if (static_cast<int64_t>(key >> shift) == bin && candidate(i)) inside.push_back(key);
  }
  uint32_t least = 0;  // if every candidate is among them
  int64_t level = 0, equal = 0;
  if (left > 0) {
    std::nth_element(inside.begin(), inside.begin() + (left - 1), inside.end(), std::greater<uint32_t>());
    least = inside[left - 1];
    level = left;
    for (const uint32_t key : inside) {
      level -= key > least;
      equal += key == least;
    }
  }
  const float chosen = number > 0 ? value : 0.0f;
#pragma omp parallel for schedule(static) num_threads(threads) if (entries > WORTH_A_THREAD)
  for (int64_t start = 0; start < entries; start += CHUNK) {
    const int64_t end = start + CHUNK < entries ? start + CHUNK : entries;
#pragma GCC ivdep
    for (int64_t i = start; i < end; ++i) {
      const float z = logits[i], y = targets[i];
      const float taken = ordered(z) >= least && z == z ? chosen : 0.0f;
      believed[i] = y < 0 ? taken : y;
    }
  }
  for (int64_t i = entries - 1; equal > level && i >= 0; --i) {  // too many of those that are as large as the least
    if (ordered(logits[i]) == least && candidate(i)) {
      believed[i] = 0.0f;
      --equal;
    }
  }
  return 1;
}

// How many targets are known, their sum, how many are between 0 and 1, and how many are no labels at all.
void rarecall_count(const float* targets, int64_t entries, double* counts, int32_t threads) {
  const int64_t chunks = (entries + CHUNK - 1) / CHUNK;
  std::vector<double> known(chunks), present(chunks), soft(chunks), wrong(chunks);
#pragma omp parallel for schedule(static) num_threads(threads) if (entries > WORTH_A_THREAD)
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t end = (chunk + 1) * CHUNK < entries ? (chunk + 1) * CHUNK : entries;
    float some_known = 0, some_present = 0, some_soft = 0, some_labels = 0;
#pragma omp simd reduction(+ : some_known, some_present, some_soft, some_labels)
    for (int64_t i = chunk * CHUNK; i < end; ++i) {
      some_known += targets[i] >= 0 ? 1.0f : 0.0f;
      some_present += targets[i] >= 0 ? targets[i] : 0.0f;
      some_soft += targets[i] > 0 && targets[i] < 1 ? 1.0f : 0.0f;
      some_labels += targets[i] <= 1 ? 1.0f : 0.0f;  // not so what is not a number
    }
    known[chunk] = some_known;
    present[chunk] = some_present;
    soft[chunk] = some_soft;
    wrong[chunk] = static_cast<float>(end - chunk * CHUNK) - some_labels;
  }
  counts[0] = in_order(known);
  counts[1] = in_order(present);
  counts[2] = in_order(soft);
  counts[3] = in_order(wrong);
}
}
