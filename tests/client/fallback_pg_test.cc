// A pool's fallback, for those that allow it.
#include <chrono>

#include "tests/client/support/client_fixture.h"
#include "tests/system/support/configured_test.h"

namespace pglessor {
namespace {

using absl::StatusCode;
using std::chrono::nanoseconds;

class ClientFallback : public system::ConfiguredTest {};

TEST_F(ClientFallback, ServesThoseThatAllowItAndSaysSo) {
  ServeFile(Pool("default", Sizes(1, 1), "fallback_pool = \"spare\"") + Pool("spare", Sizes(1, 1)));
  absl::StatusOr<Client> lessor = Client::Create({.address = server().address()});
  ASSERT_THAT(lessor, IsOk());
  const absl::StatusOr<Lease> own = lessor->Acquire({.allow_fallback = true});
  ASSERT_THAT(own, IsOk());
  EXPECT_EQ(own->pool(), "default");
  EXPECT_EQ(own->fallback_for(), "");

  EXPECT_THAT(lessor->Acquire({.wait_timeout = nanoseconds(0)}),
              FailsWith(StatusCode::kResourceExhausted, "NO_IDLE_CONNECTION"));
  absl::StatusOr<Lease> spare = lessor->Acquire({.wait_timeout = nanoseconds(0), .allow_fallback = true});
  ASSERT_THAT(spare, IsOk());
  EXPECT_EQ(spare->pool(), "spare");
  EXPECT_EQ(spare->fallback_for(), "default");
  EXPECT_THAT(spare->Execute("SELECT 1"), IsOk());
}

}  // namespace
}  // namespace pglessor
