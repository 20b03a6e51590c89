#include "trainer/data/hf/growth_bound.h"

#include "common/check.h"
#include "common/error.h"

namespace enodia {

void GrowthBound::check(size_t bytes) const {
  constexpr size_t kAlways = 4096;
  constexpr size_t kTimes = 32;
  if (bytes > kAlways + kTimes * text_bytes_) {
    throw FileError(detail::concat(where_,
                                   " makes at least ",
                                   bytes,
                                   " bytes of a text of ",
                                   text_bytes_,
                                   ", more than ",
                                   kTimes,
                                   " times as many and ",
                                   kAlways,
                                   "; use another tokenizer"));
  }
}

}  // namespace enodia
