/*
 * base64url.h
 *	  base64url as RFC 7515 has it: no padding, no white space, no bits left over.
 */
#ifndef TIDE_BASE64URL_H
#define TIDE_BASE64URL_H

/* false if text is not base64url, or gives more than size bytes */
extern bool tide_base64url_decode(const char *text, Size len, uint8 *out, Size size, Size *outlen);

/* palloc'd */
extern char *tide_base64url_encode(const uint8 *bytes, Size len);

#endif							/* TIDE_BASE64URL_H */
