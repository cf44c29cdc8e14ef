#include "common/aio/tls.hpp"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <array>
#include <cctype>
#include <cstdio>
#include <memory>

namespace taskmill::aio {
namespace {

std::string last_error() {
  const auto code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "unknown TLS error";
  if (ERR_SYSTEM_ERROR(code)) return code_of(ERR_GET_REASON(code)).message();  // no such file, permission denied, …
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "unknown TLS error";
}

struct KeyDeleter {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct CertDeleter {
  void operator()(X509* cert) const { X509_free(cert); }
};
struct FileDeleter {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using FilePtr = std::unique_ptr<std::FILE, FileDeleter>;
using KeyPtr = std::unique_ptr<EVP_PKEY, KeyDeleter>;
using CertPtr = std::unique_ptr<X509, CertDeleter>;

std::string lower_hex_only(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c != ':' && c != ' ') out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

bool is_ip_literal(const std::string& host) {
  ASN1_OCTET_STRING* address = a2i_IPADDRESS(host.c_str());
  if (address == nullptr) {
    ERR_clear_error();
    return false;
  }
  ASN1_OCTET_STRING_free(address);
  return true;
}

}  // namespace

Expected<SslContextPtr> make_server_context(const std::string& cert_file, const std::string& key_file) {
  SslContextPtr context(SSL_CTX_new(TLS_server_method()));
  if (!context) return make_error("cannot set up TLS: " + last_error());
  if (SSL_CTX_use_certificate_chain_file(context.get(), cert_file.c_str()) != 1) {
    return make_error("cannot read the TLS certificate " + cert_file + ": " + last_error() +
                      "; give a PEM file with --ssl-cert");
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    return make_error("cannot read the TLS key " + key_file + ": " + last_error() + "; give a PEM file with --ssl-key");
  }
  if (SSL_CTX_check_private_key(context.get()) != 1) {
    return make_error("the TLS key " + key_file + " does not belong to the certificate " + cert_file);
  }
  return context;
}

Expected<SslContextPtr> make_client_context(const ClientTlsOptions& options) {
  SslContextPtr context(SSL_CTX_new(TLS_client_method()));
  if (!context) return make_error("cannot set up TLS: " + last_error());
  if (!options.ca_file.empty()) {
    if (SSL_CTX_load_verify_locations(context.get(), options.ca_file.c_str(), nullptr) != 1) {
      return make_error("cannot read the CA file " + options.ca_file + ": " + last_error());
    }
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  }
  return context;
}

SslPtr make_server_ssl(SSL_CTX& context) {
  SslPtr ssl(SSL_new(&context));
  if (ssl) SSL_set_accept_state(ssl.get());
  return ssl;
}

SslPtr make_client_ssl(SSL_CTX& context, const std::string& host, const ClientTlsOptions& options) {
  SslPtr ssl(SSL_new(&context));
  if (!ssl) return ssl;
  SSL_set_connect_state(ssl.get());
  // SSL_set_tlsext_host_name() without its C cast.
  SSL_ctrl(ssl.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, const_cast<char*>(host.c_str()));
  if (!options.ca_file.empty()) {
    if (is_ip_literal(host)) {
      X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), host.c_str());
    } else {
      SSL_set1_host(ssl.get(), host.c_str());
    }
  }
  return ssl;
}

std::string check_fingerprint(SSL& ssl, const ClientTlsOptions& options) {
  if (options.fingerprint.empty()) return {};
  const CertPtr cert(SSL_get1_peer_certificate(&ssl));
  if (!cert) return "the manager sent no certificate";
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  X509_digest(cert.get(), EVP_sha256(), digest.data(), &length);
  static constexpr char digits[] = "0123456789abcdef";
  std::string actual;
  for (unsigned i = 0; i < length; ++i) {
    actual += digits[digest[i] >> 4];
    actual += digits[digest[i] & 15];
  }
  if (actual == lower_hex_only(options.fingerprint)) return {};
  return "the certificate's SHA-256 fingerprint is " + actual + ", expected " + options.fingerprint;
}

Expected<CertificateFiles> make_self_signed(const std::string& directory, const std::string& common_name) {
  const KeyPtr key(EVP_EC_gen("P-256"));
  const CertPtr cert(X509_new());
  if (!key || !cert) return make_error("cannot make a TLS key: " + last_error());
  X509_set_version(cert.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(cert.get()), 60L * 60 * 24 * 365);
  X509_set_pubkey(cert.get(), key.get());
  X509_NAME* name = X509_get_subject_name(cert.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(common_name.c_str()), -1,
                             -1, 0);
  X509_set_issuer_name(cert.get(), name);
  const std::string alt_names = (is_ip_literal(common_name) ? "IP:" : "DNS:") + common_name;
  if (X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, alt_names.c_str())) {
    X509_add_ext(cert.get(), extension, -1);
    X509_EXTENSION_free(extension);
  }
  if (X509_sign(cert.get(), key.get(), EVP_sha256()) == 0)
    return make_error("cannot sign a TLS certificate: " + last_error());

  CertificateFiles files{directory + "/cert.pem", directory + "/key.pem"};
  const FilePtr cert_file(std::fopen(files.cert.c_str(), "we"));
  const mode_t old_mask = ::umask(0077);
  const FilePtr key_file(std::fopen(files.key.c_str(), "we"));
  ::umask(old_mask);
  if (!cert_file || !key_file)
    return make_error("cannot write a TLS certificate to " + directory + ": " + errno_code().message());
  if (PEM_write_X509(cert_file.get(), cert.get()) != 1 ||
      PEM_write_PrivateKey(key_file.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return make_error("cannot write a TLS certificate to " + directory + ": " + last_error());
  }
  return files;
}

}  // namespace taskmill::aio
