#include "collectives/diagnosis/link_judgement.h"

#include <functional>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace enodia {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

/// Ranks on nodes, with the links of a healthy cluster of 1 Gbit/s.
struct Cluster {
  explicit Cluster(std::vector<int> nodes_of_ranks) : nodes(std::move(nodes_of_ranks)) {
    const int ranks = static_cast<int>(nodes.size());
    for (int low = 0; low < ranks; ++low) {
      hosts.push_back("host" + std::to_string(nodes[static_cast<size_t>(low)]));
      for (int high = low + 1; high < ranks; ++high) {
        const bool inside = nodes[static_cast<size_t>(low)] == nodes[static_cast<size_t>(high)];
        links.push_back(inside ? Link{low, high, 1.0, 0.5, 30000.0, 30000.0}
                               : Link{low, high, 25.0, 20.0, 940.0, 940.0});
      }
    }
  }

  void change(const std::function<bool(int, int)>& which, const std::function<void(Link&)>& how) {
    for (Link& link : links) {
      if (which(link.low, link.high)) {
        how(link);
      }
    }
  }
  void change_node(int node, const std::function<void(Link&)>& how) {
    change(
        [&](int low, int high) {
          return nodes[low] != nodes[high] && (nodes[low] == node || nodes[high] == node);
        },
        how);
  }

  std::vector<std::string> judge() const {
    std::vector<std::string> texts;
    for (const Finding& finding : judge_links(links, nodes, hosts)) {
      EXPECT_FALSE(finding.remedy.empty());
      texts.push_back((finding.severity == Severity::kError ? "error: " : "warning: ") +
                      finding.what);
    }
    return texts;
  }

  std::vector<int> nodes;
  std::vector<std::string> hosts;
  std::vector<Link> links;
};

void slow(Link& link) {
  link.up_mbit = link.down_mbit = 97.0;
}

TEST(JudgeLinks, NamesNothingWhereAllIsWell) {
  for (const auto& nodes : std::vector<std::vector<int>>{
           {0}, {0, 0}, {0, 1}, {0, 1, 2}, {0, 0, 1, 1}, {0, 0, 0, 1, 2, 2}}) {
    EXPECT_THAT(Cluster(nodes).judge(), IsEmpty()) << nodes.size() << " ranks";
  }
}

TEST(JudgeLinks, ForgivesNoiseBelowAFactorOfTwo) {
  std::mt19937 source(7);
  std::uniform_real_distribution<double> noise(0.86, 1.0);
  Cluster cluster({0, 0, 1, 1, 2, 2, 3, 3});
  cluster.change([](int, int) { return true; },
                 [&](Link& link) {
                   link.up_mbit *= noise(source);
                   link.down_mbit *= noise(source);
                   link.quickest_us /= noise(source) - 0.5;
                   link.latency_us = 100.0 * link.quickest_us;  // a busy machine
                 });
  EXPECT_THAT(cluster.judge(), IsEmpty());
}

TEST(JudgeLinks, NamesASlowNodeAmongThree) {
  for (const auto& nodes : std::vector<std::vector<int>>{
           {0, 1, 2}, {0, 0, 1, 1, 2, 2}, {0, 1, 2, 0, 1, 2}, {0, 0, 0, 1, 2, 2}}) {
    Cluster cluster(nodes);
    cluster.change_node(1, slow);
    EXPECT_THAT(cluster.judge(),
                ElementsAre(AllOf(HasSubstr("error: the link of node host1 (rank"),
                                  HasSubstr("97.0 Mbit/s, where 940 Mbit/s is usual"))));
  }
}

TEST(JudgeLinks, NamesEachOfTwoSlowNodesAmongEight) {
  Cluster cluster({0, 1, 2, 3, 4, 5, 6, 7});
  cluster.change_node(2, slow);
  cluster.change_node(5, slow);
  EXPECT_THAT(cluster.judge(),
              ElementsAre(HasSubstr("node host2 (rank 2)"), HasSubstr("node host5 (rank 5)")));
}

TEST(JudgeLinks, NamesTheDirectionThatIsSlow) {
  Cluster cluster({0, 0, 1, 1, 2, 2});
  cluster.change_node(1, [&](Link& link) {
    (link.low == 2 || link.low == 3 ? link.up_mbit : link.down_mbit) = 97.0;  // from node 1
  });
  EXPECT_THAT(cluster.judge(),
              ElementsAre(AllOf(HasSubstr("node host1 (ranks 2, 3)"),
                                HasSubstr("carries 97.0 Mbit/s out and 940 Mbit/s back"))));
}

TEST(JudgeLinks, NamesTheTwoNodesOfASlowLink) {
  Cluster cluster({0, 0, 1, 1, 2, 2, 3, 3});
  cluster.change([](int low, int high) { return low / 2 == 1 && high / 2 == 3; }, slow);
  EXPECT_THAT(cluster.judge(),
              ElementsAre(HasSubstr(
                  "error: the link from node host1 (ranks 2, 3) to node host3 (ranks 6")));
}

TEST(JudgeLinks, NamesARankWhoseNodeIsFine) {
  Cluster cluster({0, 0, 1, 1, 2, 2});
  cluster.change([](int low, int high) { return (low == 3 || high == 3) && low / 2 != high / 2; },
                 slow);
  EXPECT_THAT(cluster.judge(), ElementsAre(HasSubstr("error: rank 3 on node host1 carries 97.0")));
}

TEST(JudgeLinks, WarnsOfASlowRankInsideANode) {
  Cluster cluster({0, 0, 0, 0});
  cluster.change([](int low, int) { return low == 0; }, [](Link& link) { link.up_mbit = 5000.0; });
  EXPECT_THAT(cluster.judge(),
              ElementsAre(HasSubstr("warning: rank 0 on node host0 carries 5000")));
}

TEST(JudgeLinks, JudgesTwoNodesAbsolutely) {
  Cluster cluster({0, 0, 1, 1});
  cluster.change_node(0, slow);
  EXPECT_THAT(cluster.judge(),
              ElementsAre(AllOf(HasSubstr("error: the link between nodes host0 (ranks 0, 1) and "
                                          "host1 (ranks 2, 3) carries 97.0 Mbit/s"))));
}

TEST(JudgeLinks, NamesTheSlowDirectionBetweenTwoNodes) {
  Cluster cluster({0, 1});
  cluster.links[0].down_mbit = 97.0;
  EXPECT_THAT(cluster.judge(),
              ElementsAre(AllOf(HasSubstr("from node host0 (rank 0) to node host1 (rank 1)"),
                                HasSubstr("940 Mbit/s out and 97.0 Mbit/s back"))));
}

TEST(JudgeLinks, SaysOnceThatAllLinksBetweenNodesAreSlow) {
  Cluster cluster({0, 1, 2, 3});
  cluster.change([](int, int) { return true; }, slow);
  EXPECT_THAT(cluster.judge(),
              ElementsAre(HasSubstr("error: links between nodes carry 97.0 Mbit/s")));
}

TEST(JudgeLinks, NamesANodeThatAnswersLate) {
  Cluster cluster({0, 1, 2});
  cluster.change_node(2, [](Link& link) { link.quickest_us = 700.0; });
  EXPECT_THAT(
      cluster.judge(),
      ElementsAre(AllOf(HasSubstr("node host2 (rank 2) takes 700 us"), Not(HasSubstr("Mbit/s")))));
}

TEST(JudgeLinks, NamesAtMostEightPairs) {
  Cluster cluster(std::vector<int>(40));
  cluster.change([](int low, int high) { return low % 2 == 0 && high == low + 1; },
                 [](Link& link) { link.up_mbit = 3000.0; });
  const auto texts = cluster.judge();
  EXPECT_THAT(texts, SizeIs(9));
  EXPECT_THAT(texts.back(), HasSubstr("12 more links"));
}

TEST(SuspiciousLinks, AreThoseThatAreNamed) {
  Cluster cluster({0, 1, 2});
  EXPECT_THAT(suspicious_links(cluster.links, cluster.nodes), IsEmpty());
  cluster.change_node(1, slow);
  EXPECT_THAT(suspicious_links(cluster.links, cluster.nodes), ElementsAre(0, 2));
}

}  // namespace
}  // namespace enodia
