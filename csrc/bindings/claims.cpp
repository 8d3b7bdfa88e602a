// Whether a model is being trained or loaded, and by which thread. Context managers in C++: between
// two lines of Python a KeyboardInterrupt may come, and would leave a lock locked; `with` enters
// and leaves these without a look at signals in between.
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bindings.h"

namespace culpa {
namespace {

// Read and written with the latch held (there may be no GIL).
struct Claim {
  std::uint64_t owner = 0; // a thread; 0: free
  bool trains = false;     // not just loads
  bool lent = false;       // a callback of that training runs, and may load
  std::uint32_t forks = fork_count();

  // A child's claims are free, but for those of the thread that forked.
  void renew_after_fork(std::uint64_t me) {
    if (forks != fork_count() && owner != me)
      owner = 0, trains = lent = false;
    forks = fork_count();
  }
};

class Claimed {
public:
  Claimed(std::vector<Claim *> claims, std::string what, bool trains)
      : claims_(std::move(claims)), what_(std::move(what)), trains_(trains) {}

  void enter() {
    const std::uint64_t me = this_thread();
    before_.reserve(claims_.size());
    bool free = before_.empty();
    {
      const ForkLatch latch;
      for (Claim *claim : claims_) {
        claim->renew_after_fork(me);
        free = free && (claim->owner == 0 ||
                        (claim->owner == me && (!claim->trains || (claim->lent && !trains_))));
      }
      for (std::size_t i = 0; free && i < claims_.size(); ++i) {
        before_.push_back(*claims_[i]);
        *claims_[i] = {me, trains_ || claims_[i]->trains, false, fork_count()};
      }
    }
    if (!free)
      throw std::runtime_error(
          what_ +
          ": this model is being trained just now: by another thread, by the fit that "
          "called this callback, or by the fit that this signal handler interrupted; wait "
          "for it, or " +
          (trains_ ? "train a copy" : "change a copy"));
  }
  void exit() {
    const ForkLatch latch;
    for (std::size_t i = before_.size(); i-- > 0;) {
      *claims_[i] = before_[i];
      claims_[i]->forks = fork_count();
    }
    before_.clear();
  }

private:
  std::vector<Claim *> claims_;
  std::string what_;
  bool trains_;
  std::vector<Claim> before_; // what was, while it is entered
};

class Lent {
public:
  explicit Lent(Claim &claim) : claim_(claim) {}
  void enter() {
    const ForkLatch latch;
    before_ = std::exchange(claim_.lent, true);
  }
  void exit() {
    const ForkLatch latch;
    claim_.lent = before_;
  }

private:
  Claim &claim_;
  bool before_ = false;
};

template <class T> void bind_context(py::module_ &m, const char *name, const char *doc) {
  py::class_<T>(m, name, doc)
      .def("__enter__", &T::enter)
      .def(
          "__exit__",
          [](T &self, const py::object & /*type*/, const py::object & /*value*/,
             const py::object & /*traceback*/) { self.exit(); },
          "type"_a, "value"_a, "traceback"_a);
}

} // namespace

void bind_claims(py::module_ &m) {
  py::class_<Claim> claim(m, "Claim",
                          "Whether a model is being trained or loaded, and by which thread.");
  bind_constructor(claim, +[] { return std::make_unique<Claim>(); });
  bind_context<Claimed>(m, "Claimed", "What claim() gives, for a with statement.");
  bind_context<Lent>(m, "Lent", "What lend() gives, for a with statement.");
  m.def(
      "claim",
      [](const std::vector<Claim *> &claims, const std::string &what, bool trains) {
        for (const Claim *claim : claims)
          if (!claim)
            throw py::type_error("claims: expected no None among them");
        return Claimed(claims, what, trains);
      },
      "claims"_a, "what"_a, "trains"_a, py::keep_alive<0, 1>(),
      "All of the models, or RuntimeError: to train them, or to load weights; `what` does it.");
  m.def(
      "lend", [](Claim &claim) { return Lent(claim); }, "claim"_a, py::keep_alive<0, 1>(),
      "While a callback of the training runs, which may load weights.");
}

} // namespace culpa
