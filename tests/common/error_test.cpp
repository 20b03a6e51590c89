#include "common/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/check.h"

namespace enodia {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(Error, EachKindHasItsExitCode) {
  EXPECT_EQ(ConfigError("").exit_code(), ExitCode::kConfig);
  EXPECT_EQ(CommError("").exit_code(), ExitCode::kCommunication);
  EXPECT_EQ(FileError("").exit_code(), ExitCode::kFile);
  EXPECT_EQ(UsageError("").exit_code(), ExitCode::kOther);
}

TEST(Check, NamesExpressionPlaceAndValues) {
  try {
    ENODIA_CHECK(1 + 1 == 3, "sum ", 2);
    FAIL() << "nothing was thrown";
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("1 + 1 == 3"), HasSubstr("error_test.cpp:"), HasSubstr("sum 2")));
  }
  try {
    ENODIA_CHECK_EQ(2 * 3, 7, "product");
    FAIL() << "nothing was thrown";
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("(6 vs 7)"), HasSubstr("product")));
  }
}

TEST(Check, EvaluatesItsArgumentsOnceAndPassesWhenTrue) {
  int calls = 0;
  ENODIA_CHECK(++calls == 1);
  ENODIA_CHECK_EQ(++calls, 2);
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace enodia
