// The password exchange, both roles. A peer that does not know the password must never get in, and must never get
// the response to our own challenge.
#include "tests/fuzz/session_checks.hpp"

using namespace taskmill;

namespace {

const std::string password = "a secret no input of a fuzzer holds \x01\x02\x03";
const std::string challenge = "nfgvokyetslsztfmlzdfzotfwqzkautyceqycifnwuxtmyjjddqmxorrhscnmdp";
const std::string winning = protocol::auth_response(password, challenge);

template <class MakeDriver>
void check(std::string_view stream, const MakeDriver& make) {
  fuzzing::check_splits(stream, make);
  auto driver = make();
  driver.feed(stream);
  if (stream.find(winning) != std::string_view::npos) return;
  fuzzing::require(!driver.session.authenticated(), "nobody gets in without the password");
  fuzzing::require(driver.output.find(winning) == std::string::npos, "our own challenge is never answered");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view stream(reinterpret_cast<const char*>(data), size);
  fuzzing::take_switches(stream);
  check(stream, [] { return testing::ManagerDriver(testing::manager_with_password(password, challenge)); });
  check(stream, [] { return testing::WorkerDriver(testing::worker_with_password(password, challenge)); });
  return 0;
}
