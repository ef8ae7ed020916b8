#include "core/digest/sha256.h"

#include <openssl/evp.h>

#include "core/base/status.h"

namespace h2bd {

struct Sha256::Context {
  Context() : state(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    H2_ASSERT(state != nullptr);  // only memory can fail here
    Start();
  }
  void Start() { H2_ASSERT(EVP_DigestInit_ex(state.get(), EVP_sha256(), /*impl=*/nullptr) == 1); }

  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> state;
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::Add(ConstByteSpan bytes) {
  H2_ASSERT(EVP_DigestUpdate(context_->state.get(), bytes.data(), bytes.size()) == 1);
}

Sha256Digest Sha256::Finish() {
  Sha256Digest digest;
  unsigned written = 0;
  const int ok = EVP_DigestFinal_ex(context_->state.get(),
                                    reinterpret_cast<unsigned char*>(digest.data()), &written);
  H2_ASSERT(ok == 1 && written == digest.size());
  context_->Start();
  return digest;
}

Sha256Digest Sha256::Of(ConstByteSpan bytes) {
  Sha256 hash;
  hash.Add(bytes);
  return hash.Finish();
}

}  // namespace h2bd
