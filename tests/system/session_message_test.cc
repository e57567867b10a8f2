// A Session's requests that are not what they should be, as bytes.
#include <grpcpp/generic/generic_stub.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/session_stream.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using testing::ElementsAre;

// One stream whose requests are whatever bytes.
class RawStream {
 public:
  explicit RawStream(Client& client)
      : context_(Client::NewContext()),
        stub_(client.channel()),
        stream_(stub_.PrepareCall(context_.get(), "/pglessor.v1.SqlService/Session", &queue_)) {
    stream_->StartCall(this);
    Await();
  }
  ~RawStream() {
    queue_.Shutdown();
    Await();
  }
  RawStream(const RawStream&) = delete;
  RawStream& operator=(const RawStream&) = delete;

  void Send(const std::string& bytes) {
    const grpc::Slice slice(bytes);
    stream_->Write(grpc::ByteBuffer(&slice, 1), this);
    EXPECT_TRUE(Await());
  }
  void HalfClose() {
    stream_->WritesDone(this);
    EXPECT_TRUE(Await());
  }
  // The next message; one without a kind where the stream has ended.
  v1::SessionResponse Read() {
    grpc::ByteBuffer bytes;
    stream_->Read(&bytes, this);
    v1::SessionResponse response;
    std::vector<grpc::Slice> slices;
    if (!Await() || !bytes.Dump(&slices).ok()) return response;
    std::string all;
    for (const grpc::Slice& slice : slices) all.append(slice.begin(), slice.end());
    EXPECT_TRUE(response.ParseFromString(all));
    return response;
  }
  grpc::Status Finish() {
    grpc::Status status;
    stream_->Finish(&status, this);
    Await();
    return status;
  }

 private:
  // One operation is under way at a time.
  bool Await() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

  Client::Context context_;
  grpc::CompletionQueue queue_;
  grpc::GenericStub stub_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
};

class SessionMessageTest : public SystemTest {
 protected:
  void SetUp() override { Serve(1, 1); }
};

// gRPC says of what cannot be parsed what it says of a half-close.
TEST_F(SessionMessageTest, ARequestThatCannotBeParsedIsAnsweredAndTheStreamGoesOn) {
  const auto execute = [](int64_t id, const std::string& sql) {
    v1::SessionRequest request;
    request.set_id(id);
    request.mutable_execute()->set_sql(sql);
    return request.SerializeAsString();
  };
  v1::SessionRequest acquire;
  acquire.mutable_acquire();
  RawStream stream(client());
  stream.Send(acquire.SerializeAsString());
  EXPECT_TRUE(stream.Read().has_acquired());
  stream.Send(execute(1, "BEGIN"));
  stream.Send(execute(2, "SELECT '\xff'"));
  stream.Send("\xff");
  stream.Send(execute(4, "SELECT 4"));
  EXPECT_TRUE(stream.Read().result().has_header());
  EXPECT_TRUE(stream.Read().result().has_summary());
  for (const int64_t id : {2, 0}) {  // in its turn, and with its id where that can be read
    const v1::SessionResponse refused = stream.Read();
    EXPECT_EQ(refused.id(), id);
    const Outcome outcome = OutcomeOf(StatusOf(refused));
    EXPECT_THAT(outcome, FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID"));
    EXPECT_THAT(outcome.fields, ElementsAre("message"));
  }
  EXPECT_TRUE(stream.Read().result().has_header());
  EXPECT_TRUE(stream.Read().result().has_rows());
  EXPECT_TRUE(stream.Read().result().summary().in_transaction()) << "the lease and its transaction live on";
  stream.HalfClose();
  EXPECT_TRUE(stream.Finish().ok());
}

}  // namespace
}  // namespace pglessor::system
