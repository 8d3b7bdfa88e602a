// The table of kinds: each has a file of its own, but for those that only copy.
#include "stages/stage.h"

namespace culpa {

template <class T> const StageKind<T> &dense_stage();
template <class T> const StageKind<T> &scale_stage();
template <class T> const StageKind<T> &layer_norm_stage();
template <class T> const StageKind<T> &elementwise_stage();
template <class T> const StageKind<T> &add_stage();

template <class T> const StageKind<T> &stage_kind(Kind kind) {
  switch (kind) {
  case Kind::dense:
    break;
  case Kind::scale:
    return scale_stage<T>();
  case Kind::layer_norm:
    return layer_norm_stage<T>();
  case Kind::elementwise:
    return elementwise_stage<T>();
  case Kind::add:
    return add_stage<T>();
  }
  return dense_stage<T>();
}

template const StageKind<float> &stage_kind(Kind);
template const StageKind<double> &stage_kind(Kind);

} // namespace culpa
