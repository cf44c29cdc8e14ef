// TLS contexts for both ends. Server: PEM certificate (chain) and key. Client: no verification towards old
// peers (wire-protocol.md 4.1), or a CA file, or a SHA-256 fingerprint of the certificate.
#pragma once

#include <optional>
#include <string>

#include "common/aio/stream.hpp"
#include "common/base/result.hpp"

namespace taskmill::aio {

struct SslContextDeleter {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using SslContextPtr = std::unique_ptr<SSL_CTX, SslContextDeleter>;

struct ClientTlsOptions {
  std::string ca_file;      ///< verify the chain and the host name against this PEM file
  std::string fingerprint;  ///< SHA-256 of the certificate, hex, colons allowed
};

Expected<SslContextPtr> make_server_context(const std::string& cert_file, const std::string& key_file);
Expected<SslContextPtr> make_client_context(const ClientTlsOptions& options);

/// One SSL object for an accepted connection.
SslPtr make_server_ssl(SSL_CTX& context);
/// One SSL object for a connection to `host` (SNI as typed, even an IP literal).
SslPtr make_client_ssl(SSL_CTX& context, const std::string& host, const ClientTlsOptions& options);
/// After the handshake: empty when the fingerprint fits (or none was asked), else the reason.
std::string check_fingerprint(SSL& ssl, const ClientTlsOptions& options);
/// A throw-away self-signed certificate and key as PEM files in `directory` (for --ssl without files, and tests).
struct CertificateFiles {
  std::string cert;
  std::string key;
};
Expected<CertificateFiles> make_self_signed(const std::string& directory, const std::string& common_name);

}  // namespace taskmill::aio
