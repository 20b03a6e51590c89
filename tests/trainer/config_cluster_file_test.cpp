#include <filesystem>
#include <string>

#include <gmock/gmock.h>

#include "common/error.h"
#include "trainer/config/cluster_file.h"

namespace enodia {
namespace {

using ::testing::HasSubstr;

constexpr const char* kSound =
    "nodes: 4\nranks_per_node: 8\ntflops: 156\nmemory_gb: 40\ninside_gb_s: 300\n"
    "between_gb_s: 50\nbetween_latency_us: 30\n";

std::string refusal_of(const std::string& text) {
  try {
    parse_cluster(text, "c.yaml");
    return "";
  } catch (const ConfigError& error) {
    return error.what();
  }
}

TEST(ClusterFile, IsReadWithUnits) {
  const Cluster cluster = parse_cluster(kSound, "somewhere/p4d.yaml");
  EXPECT_EQ(cluster.name, "p4d");
  EXPECT_EQ(cluster.num_ranks(), 32);
  EXPECT_EQ(cluster.topology().num_nodes(), 4);
  EXPECT_EQ(cluster.tflops, 156);
  EXPECT_EQ(cluster.inside.gigabytes_per_s, 300);
  EXPECT_EQ(cluster.inside.latency_us, 0);
  EXPECT_EQ(cluster.between.latency_us, 30);
}

TEST(ClusterFile, IsWrittenAsItIsRead) {
  const Cluster cluster{"c", 3, 8, 0.081, 16, {3.1, 0}, {0.0125, 0}};
  const Cluster again = parse_cluster(to_yaml(cluster), "c.yaml");
  EXPECT_EQ(to_yaml(again), to_yaml(cluster));
  EXPECT_EQ(again.ranks_per_node, 8);
  EXPECT_EQ(again.tflops, 0.081);
  EXPECT_EQ(again.between.gigabytes_per_s, 0.0125);
}

TEST(ClusterFile, ListsAllThatIsWrong) {
  const std::string refusal = refusal_of("node: 4\nranks_per_node: 0\ntflops: fast\n");
  EXPECT_THAT(refusal, HasSubstr("c.yaml:1:1: a cluster has no key 'node'; did you mean 'nodes'?"));
  EXPECT_THAT(refusal, HasSubstr("c.yaml:2:1: ranks_per_node must be an integer from 1"));
  EXPECT_THAT(refusal, HasSubstr("c.yaml:3:1: tflops must be a number above 0, not 'fast'"));
  EXPECT_THAT(refusal, HasSubstr("c.yaml: memory_gb is missing (GB of memory of a rank)"));
}

TEST(ClusterFile, RefusesWhatIsNoCluster) {
  EXPECT_THAT(refusal_of(""), HasSubstr("must be a mapping of keys, such as nodes: 4"));
  EXPECT_THAT(refusal_of("- 1\n"), HasSubstr("must be a mapping of keys"));
  EXPECT_THAT(refusal_of("nodes: 1\nnodes: 2\n"), HasSubstr("c.yaml:2:1"));
  EXPECT_THAT(refusal_of(std::string(kSound) + "inside_latency_us:\n"), HasSubstr("has no value"));
  EXPECT_THAT(refusal_of("nodes: 60000\nranks_per_node: 60000\ntflops: 1\nmemory_gb: 1\n"
                         "inside_gb_s: 1\nbetween_gb_s: 1\n"),
              HasSubstr("nodes (60000) times ranks_per_node (60000) must be at most 65536"));
  EXPECT_THROW(read_cluster("nowhere.yaml"), ConfigError);
}

TEST(ClusterFile, ThoseOfThisTreeAreSound) {
  int files = 0;
  const std::filesystem::path folder(std::string(ENODIA_SOURCE_DIR) + "/configs/clusters");
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    EXPECT_GT(read_cluster(entry.path().string()).num_ranks(), 1);
    ++files;
  }
  EXPECT_GE(files, 3);
}

}  // namespace
}  // namespace enodia
