// Elementary functions of one number, where they decide bits: random numbers, learning rates and
// schedules. The C library's own differ from release to release and, through the instructions it
// chooses, from CPU to CPU. These are plain products and sums of doubles, each rounded as IEEE 754
// says, so every platform gives the same bits. All are within one unit in the last place.
#pragma once

namespace culpa {

double natural_log(double x);         // of a finite x > 0
double natural_log_1p(double x);      // log(1 + x), for a finite x > -1
double exponential(double x);         // e^x
double cosine_of_turns(double turns); // cos(2 pi turns), for |turns| below 2^50

// base^exponent, for a finite base >= 0 and finite exponents. The logarithm is taken once.
class Power {
public:
  explicit Power(double base);
  double operator()(double exponent) const;

private:
  double base_, log_high_ = 0, log_low_ = 0;
};

} // namespace culpa
