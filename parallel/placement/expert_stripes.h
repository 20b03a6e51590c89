#pragma once

#include <cstdint>

namespace enodia {

/// The rank that owns a stripe of an expert whose owner is `owner`: the ranks in runs of `stripes`
/// own together what each of them would own alone.
int32_t owner_of_stripe(int32_t owner, int stripe, int stripes);

/// The stripe of the experts of its run that a rank owns.
int stripe_of_rank(int rank, int stripes);

/// Whether `rank` owns one of an expert whose owner is `owner`.
bool owns_stripe(int rank, int32_t owner, int stripes);

}  // namespace enodia
