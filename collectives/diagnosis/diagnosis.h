#pragma once

#include <string>
#include <vector>

#include "collectives/diagnosis/clock_probe.h"
#include "collectives/diagnosis/finding.h"
#include "collectives/diagnosis/link_probe.h"
#include "collectives/diagnosis/rank_facts.h"
#include "common/json.h"

namespace enodia {

/// All that `enodia doctor` found out; on rank 0.
struct Diagnosis {
  std::vector<RankFacts> ranks;
  std::vector<int> nodes;  ///< of each rank
  std::vector<Link> links;
  std::vector<ClockOffset> clocks;  ///< of each rank
  std::vector<Finding> findings;
};

int64_t count_findings(const Diagnosis& diagnosis, Severity severity);

/// For people: MPI, nodes, clocks, a matrix of the links (of 16 ranks at most; else the slowest
/// ones), then the findings, errors last.
std::string to_text(const Diagnosis& diagnosis);

Json to_json(const Diagnosis& diagnosis);

}  // namespace enodia
