#pragma once

#include <string>
#include <vector>

#include "tests/parity/parity_case.h"

namespace enodia {

/// A level of each thing that may be chosen for a step.
using PairRow = std::vector<int>;

/// Rows of a covering design: any two choices meet in some row.
std::vector<PairRow> pair_rows();
/// For each factor its number of levels.
const std::vector<int>& pair_levels();
std::string name_of_pairs(const PairRow& row);
/// Whether its load-balance loss depends on the number of data-parallel groups.
bool has_global_scope(const PairRow& row);

/// Of cases that differ in their numbers alone, the first in which no choice of experts is close.
ParityCase pair_case(const PairRow& row);

}  // namespace enodia
