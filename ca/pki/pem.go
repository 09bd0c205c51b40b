package pki

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
)

// ChainPEM returns certificates as PEM blocks, in their order.
func ChainPEM(chain []*x509.Certificate) []byte {
	var out []byte
	for _, c := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// ParseChain reads the certificates of a PEM file. Text between the blocks, which openssl writes, does not
// count; anything else but certificates is refused.
func ParseChain(text []byte) (chain []*x509.Certificate, err error) {
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if strings.Contains(string(rest), "-----BEGIN") {
				return nil, refuse(len(chain)+1, "", "is a PEM block that is cut off or damaged", "copy the file again")
			}
			return chain, nil
		}
		switch block.Type {
		case "CERTIFICATE":
		case "PKCS7", "CMS":
			return nil, refuse(len(chain)+1, "", "is a PKCS #7 bundle", "unpack it with: openssl pkcs7 -print_certs -in FILE")
		case "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST":
			return nil, refuse(len(chain)+1, "", "is the request and not the certificate", "have it signed first, with sigbox ca sign-csr or by your PKI")
		default:
			what := fmt.Sprintf("is a PEM block of type %.40q", block.Type)
			if strings.Contains(block.Type, "PRIVATE KEY") {
				what = "is a private key, which belongs into no chain"
			}
			return nil, refuse(len(chain)+1, "", what, "leave only the certificates in the file")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, refuse(len(chain)+1, "", fmt.Sprintf("cannot be read: %v", err), "export it from the PKI again, as X.509 in PEM")
		}
		chain = append(chain, c)
	}
}
