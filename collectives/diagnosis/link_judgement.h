#pragma once

#include <span>
#include <string>
#include <vector>

#include "collectives/diagnosis/finding.h"
#include "collectives/diagnosis/link_probe.h"

namespace enodia {

/// All functions here are pure. `nodes[r]` is the node of rank r (Communicator::nodes), `hosts[r]`
/// the name of its host.
///
/// Links are compared within their class, inside nodes or between nodes, with the upper quartile of
/// the bandwidths and the lower quartile of the quickest messages: with three nodes of which one is
/// slow, two thirds of the links are, so the median would be the slow one's. A link is bad when it
/// carries less than half of that in one direction, or takes three times as long and 200 us more
/// (less is a matter of the scheduler and of switch hops).

/// Indices of the links that are bad, by comparison with their class or absolutely.
std::vector<size_t> suspicious_links(std::span<const Link> links, std::span<const int> nodes);

/// Names what the bad links have in common: a node or a rank, when at least three quarters of its
/// links are bad and there are two others to compare with; else each pair of nodes or ranks.
/// Absolutely, a link between nodes should carry 800 Mbit/s in both directions (a healthy Ethernet
/// of 1 Gbit/s carries 940), and one inside a node 1000.
std::vector<Finding> judge_links(std::span<const Link> links,
                                 std::span<const int> nodes,
                                 std::span<const std::string> hosts);

/// "950 Mbit/s", "31.2 Gbit/s".
std::string rate_text(double mbit);

}  // namespace enodia
