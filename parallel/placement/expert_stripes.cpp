#include "parallel/placement/expert_stripes.h"

namespace enodia {

int32_t owner_of_stripe(int32_t owner, int stripe, int stripes) {
  return owner / stripes * stripes + stripe;
}

int stripe_of_rank(int rank, int stripes) {
  return rank % stripes;
}

bool owns_stripe(int rank, int32_t owner, int stripes) {
  return rank / stripes == owner / stripes;
}

}  // namespace enodia
