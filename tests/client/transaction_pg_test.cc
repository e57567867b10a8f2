// Transactions, and the example.
#include <optional>

#include "absl/strings/match.h"

#include "pglessor/transaction.h"
#include "tests/client/support/client_fixture.h"
#include "tests/system/support/process.h"

namespace pglessor {
namespace {

using absl::StatusCode;
using std::chrono::milliseconds;

class ClientTransaction : public ClientFixture {
 protected:
  void SetUp() override {
    ClientFixture::SetUp();
    database().MakeTable("deeds", "deed text");
  }
  int Deeds() { return observer().Count("SELECT count(*) FROM deeds"); }
};

TEST_F(ClientTransaction, CommittedIsThere) {
  Lease lease = Acquire();
  absl::StatusOr<Transaction> transaction = Transaction::Begin(lease);
  ASSERT_THAT(transaction, IsOk());
  ASSERT_THAT(transaction->Execute("INSERT INTO deeds VALUES ($1)", "done"), IsOk());
  EXPECT_EQ(Deeds(), 0);
  EXPECT_THAT(transaction->Commit(), IsOk());
  EXPECT_EQ(Deeds(), 1);
}

TEST_F(ClientTransaction, IsRolledBackWhenItGoesOutOfScope) {
  Lease lease = Acquire();
  {
    absl::StatusOr<Transaction> transaction = Transaction::Begin(lease);
    ASSERT_THAT(transaction, IsOk());
    ASSERT_THAT(transaction->Execute("INSERT INTO deeds VALUES ('undone')"), IsOk());
  }
  const absl::StatusOr<Result> after = lease.Execute("SELECT count(*) FROM deeds");
  ASSERT_THAT(after, IsOk()) << "the lease is ready when the scope has been left";
  EXPECT_EQ(after->value<int64_t>().value(), 0);
  EXPECT_FALSE(after->in_transaction());
}

TEST_F(ClientTransaction, IsRolledBackEvenWhereItsStatementWasGivenUp) {
  Lease lease = Acquire();
  {
    absl::StatusOr<Transaction> transaction = Transaction::Begin(lease);
    ASSERT_THAT(transaction, IsOk());
    ASSERT_THAT(transaction->Execute("INSERT INTO deeds VALUES ('undone')"), IsOk());
    Statement slow("SELECT pg_sleep(600)");
    slow.timeout = milliseconds(50);
    EXPECT_FALSE(transaction->Execute(slow).ok());
  }
  const absl::StatusOr<Result> after = lease.Execute("SELECT count(*) FROM deeds");
  ASSERT_THAT(after, IsOk());
  EXPECT_EQ(after->value<int64_t>().value(), 0);
  EXPECT_FALSE(after->in_transaction());
}

TEST_F(ClientTransaction, OfAFailedStatementDoesNotPretendToCommit) {
  Lease lease = Acquire();
  absl::StatusOr<Transaction> transaction = Transaction::Begin(lease);
  ASSERT_THAT(transaction, IsOk());
  ASSERT_THAT(transaction->Execute("INSERT INTO deeds VALUES ('undone')"), IsOk());
  EXPECT_FALSE(transaction->Execute("SELECT 1 / 0").ok());
  EXPECT_THAT(transaction->Commit(), FailsWith(StatusCode::kAborted, ""));
  EXPECT_EQ(Deeds(), 0);
}

TEST_F(ClientTransaction, WhoseCommitIsRefusedLeavesTheLeaseReady) {
  database().MakeTable("once", "x int UNIQUE DEFERRABLE INITIALLY DEFERRED");
  Lease lease = Acquire();
  {
    absl::StatusOr<Transaction> transaction = Transaction::Begin(lease);
    ASSERT_THAT(transaction, IsOk());
    ASSERT_THAT(transaction->Execute("INSERT INTO once VALUES (1), (1)"), IsOk());
    const absl::Status refused = transaction->Commit();
    EXPECT_THAT(refused, FailsWith(StatusCode::kAlreadyExists, "SQL_ERROR"));
  }
  EXPECT_THAT(Transaction::Begin(lease), IsOk());
}

TEST_F(ClientTransaction, DoesNotBeginInsideAnother) {
  Lease lease = Acquire();
  absl::StatusOr<Transaction> outer = Transaction::Begin(lease);
  ASSERT_THAT(outer, IsOk());
  EXPECT_THAT(Transaction::Begin(lease), FailsWith(StatusCode::kFailedPrecondition, ""));
  ASSERT_THAT(outer->Execute("INSERT INTO deeds VALUES ('done')"), IsOk());
  EXPECT_THAT(outer->Commit(), IsOk());
  EXPECT_EQ(Deeds(), 1);
}

TEST_F(ClientTransaction, IsOfTheAskedKind) {
  Lease lease = Acquire();
  absl::StatusOr<Transaction> transaction =
      Transaction::Begin(lease, {.isolation = Isolation::kSerializable, .access = Access::kReadOnly});
  ASSERT_THAT(transaction, IsOk());
  EXPECT_EQ(
      transaction->Execute("SELECT current_setting('transaction_isolation')")->value<std::string>().value(),
      "serializable");
  EXPECT_EQ(SqlState(transaction->Execute("INSERT INTO deeds VALUES ('no')").status()), "25006");
}

TEST_F(ClientTransaction, IsOverAfterItsEnd) {
  Lease lease = Acquire();
  absl::StatusOr<Transaction> transaction = Transaction::Begin(lease);
  ASSERT_THAT(transaction, IsOk());
  ASSERT_THAT(transaction->Rollback(), IsOk());
  EXPECT_THAT(transaction->Execute("SELECT 1"), FailsWith(StatusCode::kFailedPrecondition, ""));
  EXPECT_THAT(transaction->Commit(), FailsWith(StatusCode::kFailedPrecondition, ""));
}

TEST_F(ClientTransaction, SurvivesThatItsLeaseIsMovedAndThatItIsReleased) {
  Lease lease = Acquire();
  absl::StatusOr<Transaction> transaction = Transaction::Begin(lease);
  ASSERT_THAT(transaction, IsOk());
  {
    const Lease moved = std::move(lease);
    EXPECT_THAT(transaction->Execute("INSERT INTO deeds VALUES ('undone')"), IsOk());
  }
  EXPECT_FALSE(transaction->Execute("SELECT 1").ok());
  EXPECT_FALSE(transaction->Commit().ok());
  EXPECT_TRUE(AwaitRest());
  EXPECT_EQ(Deeds(), 0);
}

TEST_F(ClientTransaction, ThatCannotBeRolledBackTakesTheLeaseWithIt) {
  absl::StatusOr<Client> impatient =
      Client::Create({.address = server().address(), .call_timeout = milliseconds(100)});
  ASSERT_THAT(impatient, IsOk());
  absl::StatusOr<Lease> lease = impatient->Acquire({.ttl = std::chrono::seconds(30)});
  ASSERT_THAT(lease, IsOk());
  {
    absl::StatusOr<Transaction> transaction = Transaction::Begin(*lease);
    ASSERT_THAT(transaction, IsOk());
    ASSERT_TRUE(server().process().Freeze());
  }
  server().process().Thaw();
  EXPECT_TRUE(lease->lost());
  EXPECT_FALSE(lease->Execute("SELECT 1").ok());
}

TEST_F(ClientTransaction, TheExampleTransfersMoney) {
  system::Process example({PGLESSOR_TRANSFER_EXAMPLE, {server().address()}});
  EXPECT_EQ(example.AwaitEnd(), 0) << example.Output() << example.Log();
  EXPECT_TRUE(absl::StrContains(example.Output(), "SQLSTATE 23514")) << example.Output();
  EXPECT_TRUE(absl::StrContains(example.Output(), "ann has 7500 cents\nbob has 3000 cents\n"));
}

}  // namespace
}  // namespace pglessor
