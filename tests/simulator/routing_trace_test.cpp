#include "simulator/routing_trace.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "common/error.h"

namespace enodia {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class RoutingTraceTest : public ::testing::Test {
 protected:
  std::string write(const std::string& header, const std::vector<int32_t>& data) const {
    const std::string path = ::testing::TempDir() + "/trace.safetensors";
    std::ofstream file(path, std::ios::binary);
    const uint64_t length = header.size();
    file.write(reinterpret_cast<const char*>(&length), sizeof(length));
    file << header;
    file.write(reinterpret_cast<const char*>(data.data()),
               static_cast<std::streamsize>(data.size() * sizeof(int32_t)));
    return path;
  }
  void refuse(const std::string& header,
              const std::vector<int32_t>& data,
              const std::string& words) const {
    const std::string path = write(header, data);
    EXPECT_THAT([&] { RoutingTrace::read(path); },
                ThrowsMessage<FileError>(AllOf(HasSubstr(path), HasSubstr(words))));
  }
};

TEST_F(RoutingTraceTest, IsRead) {
  const RoutingTrace trace = RoutingTrace::read(
      write(R"({"counts":{"dtype":"I32","shape":[2,1,2,3],"data_offsets":[0,48]},)"
            R"("__metadata__":{"steps":"1,21"}})",
            {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
  EXPECT_EQ(trace.num_samples(), 2);
  EXPECT_EQ(trace.num_layers(), 1);
  EXPECT_EQ(trace.num_ranks(), 2);
  EXPECT_EQ(trace.num_experts(), 3);
  EXPECT_EQ(trace.at(1, 0).of(0, 2), 9);
  EXPECT_THAT(trace.at(0, 0).totals(), ElementsAre(5, 7, 9));
}

TEST_F(RoutingTraceTest, IsWrittenAsItIsRead) {
  const std::string path = ::testing::TempDir() + "/written.safetensors";
  RoutingTrace(2, 1, 2, 3, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}).write(path);
  const RoutingTrace trace = RoutingTrace::read(path);
  EXPECT_EQ(trace.num_samples(), 2);
  EXPECT_EQ(trace.num_ranks(), 2);
  EXPECT_THAT(trace.at(1, 0).tokens, ElementsAre(7, 8, 9, 10, 11, 12));
}

TEST_F(RoutingTraceTest, IsRefusedWithASentence) {
  refuse(R"({"loads":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}})", {1}, "no tensor counts");
  refuse(R"({"counts":{"dtype":"F32","shape":[1,1,1,1],"data_offsets":[0,4]}})",
         {1},
         "must be int32 (I32) [samples, layers, ranks, experts], but is F32");
  refuse(R"({"counts":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}})", {1}, "1 dimensions");
  refuse(R"({"counts":{"dtype":"I32","shape":[1,0,1,1],"data_offsets":[0,0]}})",
         {},
         "a dimension of the tensor counts is 0");
  refuse(R"({"counts":{"dtype":"I32","shape":[1,1,1,2],"data_offsets":[0,8]}})",
         {1, -3},
         "element 1 of the tensor counts is -3");
  refuse(R"({"counts":{"dtype":"I32","shape":[1,2,2,1],"data_offsets":[0,16]}})",
         {1, 2, 1 << 30, 1 << 30},
         "sample 0, layer 1 of the tensor counts has 2147483648 token copies");
  refuse(R"({"counts":{"dtype":"I32","shape":[1,1,1,2],"data_offsets":[0,8]}})", {1}, "");
}

}  // namespace
}  // namespace enodia
