#include "collectives/diagnosis/link_judgement.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace enodia {
namespace {

constexpr double kSlowRate = 0.5, kSlowLatency = 3.0, kLatencyNoiseUs = 200.0;
constexpr double kBetweenNodesMbit = 800.0, kInsideNodeMbit = 1000.0;
/// A culprit's share of bad links. A node of two ranks with one bad rank has a half.
constexpr double kMostOfIts = 0.75;
constexpr size_t kMostPairs = 8;

double quantile(std::vector<double> values, double q) {
  if (values.empty()) {
    return 0.0;
  }
  const auto index = static_cast<size_t>(q * static_cast<double>(values.size()));
  const auto place = values.begin() + static_cast<long>(std::min(index, values.size() - 1));
  std::nth_element(values.begin(), place, values.end());
  return *place;
}

std::string text_of(double value, const char* unit) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), value < 100.0 ? "%.1f %s" : "%.0f %s", value, unit);
  return text.data();
}

/// What several links carry, seen from one of their ends.
struct Rates {
  double out = 0.0, in = 0.0, latency = 0.0;
};

/// Medians; `is_end` says which rank is the near end.
Rates rates_of(const std::vector<Link>& links, const std::function<bool(int)>& is_end) {
  std::vector<double> out, in, latency;
  for (const Link& link : links) {
    const bool low_is_end = is_end(link.low);
    out.push_back(low_is_end ? link.up_mbit : link.down_mbit);
    in.push_back(low_is_end ? link.down_mbit : link.up_mbit);
    latency.push_back(link.quickest_us);
  }
  return {quantile(out, 0.5), quantile(in, 0.5), quantile(latency, 0.5)};
}

/// The links inside nodes, or those between nodes, and what is bad among them.
class LinkClass {
 public:
  LinkClass(std::span<const Link> links,
            std::span<const int> nodes,
            std::span<const std::string> hosts,
            bool between)
      : nodes_(nodes),
        hosts_(hosts),
        between_(between),
        limit_mbit_(between ? kBetweenNodesMbit : kInsideNodeMbit) {
    std::vector<double> rates, latencies;
    for (size_t i = 0; i < links.size(); ++i) {
      if ((nodes[links[i].low] != nodes[links[i].high]) == between) {
        indices_.push_back(i);
        links_.push_back(links[i]);
        rates.insert(rates.end(), {links[i].up_mbit, links[i].down_mbit});
        latencies.push_back(links[i].quickest_us);
      }
    }
    usual_mbit_ = quantile(rates, 0.75);
    usual_latency_us_ = quantile(latencies, 0.25);
    for (const Link& link : links_) {
      (is_bad(link) ? bad_ : good_).push_back(link);
    }
  }

  std::vector<size_t> suspects() const {
    std::vector<size_t> suspects;
    for (size_t i = 0; i < links_.size(); ++i) {
      if (all_slow() || is_bad(links_[i])) {
        suspects.push_back(indices_[i]);
      }
    }
    return suspects;
  }

  std::vector<Finding> judge() {
    std::vector<Finding> findings;
    if (all_slow()) {
      findings.push_back(name_all());
    }
    name_culprits(
        findings, [this](int rank) { return nodes_[rank]; }, /*of_node=*/true);
    name_culprits(
        findings, [](int rank) { return rank; }, /*of_node=*/false);
    name_pairs(findings);
    return findings;
  }

 private:
  using Key = std::function<int(int)>;

  bool all_slow() const { return !links_.empty() && usual_mbit_ < limit_mbit_; }

  bool is_bad(const Link& link) const {
    const double least = std::min(link.up_mbit, link.down_mbit);
    return least < kSlowRate * usual_mbit_ || (!all_slow() && least < limit_mbit_) ||
           (link.quickest_us > kSlowLatency * usual_latency_us_ &&
            link.quickest_us > usual_latency_us_ + kLatencyNoiseUs);
  }

  static bool touches(const Link& link, const Key& key, int id) {
    return key(link.low) == id || key(link.high) == id;
  }

  /// Whether most links of `id` are bad, while there are good ones elsewhere.
  bool is_culprit(const Key& key, int id) const {
    std::set<int> others;
    double bad = 0.0, all = 0.0;
    for (const std::vector<Link>* links : {&bad_, &good_}) {
      for (const Link& link : *links) {
        if (touches(link, key, id)) {
          all += 1.0;
          bad += links == &bad_ ? 1.0 : 0.0;
          others.insert({key(link.low), key(link.high)});
        }
      }
    }
    others.erase(id);
    const bool inside_one = others.empty();  // links of a node with itself
    const bool good_elsewhere = std::any_of(
        good_.begin(), good_.end(), [&](const Link& link) { return !touches(link, key, id); });
    return bad > 0.0 && bad >= kMostOfIts * all && good_elsewhere &&
           (inside_one || others.size() >= 2);
  }

  void name_culprits(std::vector<Finding>& findings, const Key& key, bool of_node) {
    std::set<int> ids;
    for (const Link& link : bad_) {
      ids.insert({key(link.low), key(link.high)});
    }
    for (const int id : ids) {
      if (is_culprit(key, id)) {
        std::vector<Link> its;
        std::erase_if(bad_, [&](const Link& link) {
          const bool mine = touches(link, key, id);
          if (mine) {
            its.push_back(link);
          }
          return mine;
        });
        findings.push_back(of_node ? name_node(id, its) : name_rank(id, its));
      }
    }
  }

  Finding name_node(int node, const std::vector<Link>& its) const {
    const Rates rates = rates_of(its, [&](int rank) { return nodes_[rank] == node; });
    return finding((between_ ? "the link of node " : "memory shared by the ranks of node ") +
                       describe_node(node) + " " + describe(rates),
                   between_
                       ? "check the cable, the switch port and the network settings of " +
                             host_of(node) + ", and that btl_tcp_if_include names its fast network"
                       : "look for other programs on " + host_of(node));
  }

  Finding name_rank(int rank, const std::vector<Link>& its) const {
    const Rates rates = rates_of(its, [&](int end) { return end == rank; });
    return finding(
        "rank " + std::to_string(rank) + " on node " + hosts_[rank] + " " + describe(rates),
        "other ranks of the node do better: look for another program on its cores, and "
        "for a binding of its own");
  }

  Finding name_pair(const std::vector<Link>& its) const {
    const Link& first = its.front();
    const Rates rates = rates_of(its, [&](int rank) { return nodes_[rank] == nodes_[first.low]; });
    if (!between_) {
      return finding("ranks " + std::to_string(first.low) + " and " + std::to_string(first.high) +
                         " of node " + hosts_[first.low] + ": the link " +
                         describe(rates_of({first}, [&](int rank) { return rank == first.low; })),
                     "look for another program on their cores");
    }
    return finding("the link from node " + describe_node(nodes_[first.low]) + " to node " +
                       describe_node(nodes_[first.high]) + " " + describe(rates),
                   "check the cables and switch ports of both and what lies between them");
  }

  void name_pairs(std::vector<Finding>& findings) const {
    std::map<std::pair<int, int>, std::vector<Link>> pairs;
    for (const Link& link : bad_) {
      const auto ends = between_ ? std::minmax(nodes_[link.low], nodes_[link.high])
                                 : std::minmax(link.low, link.high);
      pairs[ends].push_back(link);
    }
    size_t named = 0;
    for (const auto& [ends, its] : pairs) {
      if (++named > kMostPairs) {
        findings.push_back(
            finding(std::to_string(pairs.size() - kMostPairs) + " more links are slow",
                    "mend those named first and run doctor again"));
        return;
      }
      findings.push_back(name_pair(its));
    }
  }

  Finding name_all() const {
    const Rates rates =
        rates_of(links_, [&](int rank) { return nodes_[rank] == nodes_[links_.front().low]; });
    if (!between_) {
      return finding(
          "ranks of one node exchange only " + rate_text(usual_mbit_) +
              ", less than shared memory carries (" + rate_text(kInsideNodeMbit) + " and more)",
          "let Open MPI use shared memory (--mca btl self,vader,tcp), and look for other "
          "programs on the node");
    }
    const std::string where =
        num_nodes() == 2
            ? "the link between nodes " + describe_node(nodes_[links_.front().low]) + " and " +
                  describe_node(nodes_[links_.front().high]) + " carries " +
                  (std::max(rates.out, rates.in) < 2.0 * std::min(rates.out, rates.in)
                       ? rate_text(usual_mbit_)
                       : rate_text(rates.out) + " there and " + rate_text(rates.in) + " back")
            : "links between nodes carry " + rate_text(usual_mbit_);
    return finding(where + ", less than Ethernet of 1 Gbit/s does (940 Mbit/s)",
                   "check cables and switch ports of both ends, and that btl_tcp_if_include names "
                   "the fast network");
  }

  Finding finding(std::string what, std::string remedy) const {
    return {between_ ? Severity::kError : Severity::kWarning,
            "link",
            std::move(what),
            std::move(remedy)};
  }

  /// "carries 97.1 Mbit/s, where others carry 950 Mbit/s".
  std::string describe(const Rates& rates) const {
    const double slow = kSlowRate * usual_mbit_;
    const bool out = rates.out < slow || rates.out < limit_mbit_;
    const bool in = rates.in < slow || rates.in < limit_mbit_;
    std::string text;
    if (out && in) {
      text = "carries " + rate_text(std::min(rates.out, rates.in));
    } else if (out || in) {
      text = "carries " + rate_text(rates.out) + " out and " + rate_text(rates.in) + " back";
    }
    if (!text.empty()) {
      return text + ", where " + rate_text(usual_mbit_) + " is usual";
    }
    return "takes " + text_of(rates.latency, "us") + " for a small message, where " +
           text_of(usual_latency_us_, "us") + " is usual";
  }

  std::string host_of(int node) const {
    return hosts_[static_cast<size_t>(std::find(nodes_.begin(), nodes_.end(), node) -
                                      nodes_.begin())];
  }

  /// "enm1 (ranks 2, 3)".
  std::string describe_node(int node) const {
    std::string ranks;
    int count = 0;
    for (size_t rank = 0; rank < nodes_.size(); ++rank) {
      if (nodes_[rank] == node) {
        ranks += (count++ == 0 ? "" : ", ") + std::to_string(rank);
      }
    }
    return host_of(node) + (count == 1 ? " (rank " : " (ranks ") + ranks + ")";
  }

  int num_nodes() const { return *std::max_element(nodes_.begin(), nodes_.end()) + 1; }

  std::span<const int> nodes_;
  std::span<const std::string> hosts_;
  bool between_;
  double limit_mbit_;
  double usual_mbit_ = 0.0, usual_latency_us_ = 0.0;
  std::vector<size_t> indices_;
  std::vector<Link> links_, bad_, good_;
};

}  // namespace

std::vector<size_t> suspicious_links(std::span<const Link> links, std::span<const int> nodes) {
  std::vector<size_t> suspects = LinkClass(links, nodes, {}, false).suspects();
  const std::vector<size_t> between = LinkClass(links, nodes, {}, true).suspects();
  suspects.insert(suspects.end(), between.begin(), between.end());
  return suspects;
}

std::vector<Finding> judge_links(std::span<const Link> links,
                                 std::span<const int> nodes,
                                 std::span<const std::string> hosts) {
  std::vector<Finding> findings = LinkClass(links, nodes, hosts, true).judge();
  const std::vector<Finding> inside = LinkClass(links, nodes, hosts, false).judge();
  findings.insert(findings.end(), inside.begin(), inside.end());
  return findings;
}

std::string rate_text(double mbit) {
  return mbit < 10000.0 ? text_of(mbit, "Mbit/s") : text_of(mbit / 1000.0, "Gbit/s");
}

}  // namespace enodia
