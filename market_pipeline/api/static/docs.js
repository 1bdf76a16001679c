// The endpoints as Swagger UI shows them, from this installation's own OpenAPI document.

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#endpoints",
  deepLinking: true,
  // Sends the document to another site.
  validatorUrl: null,
});
