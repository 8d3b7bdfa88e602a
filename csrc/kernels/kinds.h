// What there is to choose from: activations, losses, rules of optimizers and types of data, with
// the names that callers of the core know them by. Plain data, as in kernels.h.
#pragma once

#include <cstddef>

namespace culpa {

// A value, most often of an enumeration, and its name to callers of the core. A static_assert
// counts each enumeration's table: a value without a name would be one that no caller can ask for.
template <class Value> struct Name {
  Value value;
  const char *name;
};

enum class Activation : int {
  identity,
  relu,
  leaky_relu,
  elu,
  selu,
  gelu,
  gelu_tanh,
  silu,
  mish,
  tanh,
  sigmoid,
  softplus,
};
constexpr Name<Activation> activation_names[] = {
    {Activation::identity, "identity"},
    {Activation::relu, "relu"},
    {Activation::leaky_relu, "leaky_relu"},
    {Activation::elu, "elu"},
    {Activation::selu, "selu"},
    {Activation::gelu, "gelu"},
    {Activation::gelu_tanh, "gelu_tanh"},
    {Activation::silu, "silu"},
    {Activation::mish, "mish"},
    {Activation::tanh, "tanh"},
    {Activation::sigmoid, "sigmoid"},
    {Activation::softplus, "softplus"},
};
static_assert(sizeof activation_names / sizeof *activation_names ==
              static_cast<std::size_t>(Activation::softplus) + 1);

enum class Loss : int {
  cross_entropy,
  binary_cross_entropy,
  mse,
  mae,
  huber,
  poisson,
  quantile,
  gamma,
  tweedie,
};
constexpr Name<Loss> loss_names[] = {
    {Loss::cross_entropy, "cross_entropy"},
    {Loss::binary_cross_entropy, "binary_cross_entropy"},
    {Loss::mse, "mse"},
    {Loss::mae, "mae"},
    {Loss::huber, "huber"},
    {Loss::poisson, "poisson"},
    {Loss::quantile, "quantile"},
    {Loss::gamma, "gamma"},
    {Loss::tweedie, "tweedie"},
};
static_assert(sizeof loss_names / sizeof *loss_names ==
              static_cast<std::size_t>(Loss::tweedie) + 1);

// What training minimises: a loss, and what it is told; each loss reads the parameters of its own.
struct LossFunction {
  Loss kind = Loss::mse;
  double label_smoothing = 0; // cross_entropy
  double delta = 1;           // huber: where it turns linear
  double q = 0.5;             // quantile: which
  double power = 1.5;         // tweedie: of the mean, in the variance
  double limit = 0; // the largest value of a (binary) cross-entropy, not of its slope; 0: none
};
// Those that callers of the core pass by name.
constexpr Name<double LossFunction::*> loss_parameter_names[] = {
    {&LossFunction::label_smoothing, "label_smoothing"},
    {&LossFunction::delta, "delta"},
    {&LossFunction::q, "q"},
    {&LossFunction::power, "power"},
};

enum class Rule : int { sgd, adam, rmsprop, lion };
// Whether a rule keeps a slot: a number beside each parameter, from one step to the next.
enum class Keeps : int { never, with_momentum, always };
// An optimizer's rule as the core knows it, and what it keeps in the two slots that there are.
struct RuleDeclaration {
  Rule value;
  const char *name;
  Keeps first, second;
};
constexpr RuleDeclaration rules[] = {
    {.value = Rule::sgd, .name = "sgd", .first = Keeps::with_momentum, .second = Keeps::never},
    {.value = Rule::adam, .name = "adam", .first = Keeps::always, .second = Keeps::always},
    {.value = Rule::rmsprop,
     .name = "rmsprop",
     .first = Keeps::with_momentum,
     .second = Keeps::always},
    {.value = Rule::lion, .name = "lion", .first = Keeps::always, .second = Keeps::never},
};
static_assert(sizeof rules / sizeof *rules == static_cast<std::size_t>(Rule::lion) + 1);

enum class DType : int { u8, i8, u16, i16, u32, i32, u64, i64, f16, f32, f64 };

} // namespace culpa
