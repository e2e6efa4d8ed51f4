resource "azurerm_log_analytics_workspace" "stoq" {
  name                = local.name
  resource_group_name = azurerm_resource_group.stoq.name
  location            = azurerm_resource_group.stoq.location
  retention_in_days   = 30
  tags                = local.tags
}

resource "azurerm_application_insights" "stoq" {
  name                          = local.name
  resource_group_name           = azurerm_resource_group.stoq.name
  location                      = azurerm_resource_group.stoq.location
  workspace_id                  = azurerm_log_analytics_workspace.stoq.id
  application_type              = "web"
  local_authentication_disabled = true
  tags                          = local.tags
}

resource "azurerm_service_plan" "stoq" {
  name                = local.name
  resource_group_name = azurerm_resource_group.stoq.name
  location            = azurerm_resource_group.stoq.location
  os_type             = "Linux"
  sku_name            = "FC1"
  tags                = local.tags
}

resource "azurerm_function_app_flex_consumption" "scan" {
  name                = "${local.short}-scan"
  resource_group_name = azurerm_resource_group.stoq.name
  location            = azurerm_resource_group.stoq.location
  service_plan_id     = azurerm_service_plan.stoq.id
  runtime_name        = "python"
  runtime_version     = "3.13"
  # what limits.* are made for: payloads held in memory, and a sandbox beside them
  instance_memory_in_mb         = 2048
  maximum_instance_count        = var.instances
  https_only                    = true
  tags                          = local.tags

  storage_container_type            = "blobContainer"
  storage_container_endpoint        = "${azurerm_storage_account.host.primary_blob_endpoint}${azurerm_storage_container.deployment.name}"
  storage_authentication_type       = "UserAssignedIdentity"
  storage_user_assigned_identity_id = azurerm_user_assigned_identity.scan.id

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.scan.id]
  }

  site_config {
    application_insights_connection_string = azurerm_application_insights.stoq.connection_string
    minimum_tls_version                    = "1.2"
  }

  app_settings = {
    AZURE_CLIENT_ID                           = azurerm_user_assigned_identity.scan.client_id
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING = "ClientId=${azurerm_user_assigned_identity.scan.client_id};Authorization=AAD"
    AzureWebJobsStorage__accountName          = azurerm_storage_account.host.name
    AzureWebJobsStorage__credential           = "managedidentity"
    AzureWebJobsStorage__clientId             = azurerm_user_assigned_identity.scan.client_id
    Incoming__blobServiceUri                  = azurerm_storage_account.incoming.primary_blob_endpoint
    Incoming__queueServiceUri                 = azurerm_storage_account.incoming.primary_queue_endpoint
    Incoming__credential                      = "managedidentity"
    Incoming__clientId                        = azurerm_user_assigned_identity.scan.client_id

    STOQ_DEPLOYMENT = local.name
    STOQ_SCRATCH    = "/tmp"
    # the plan's /tmp has 0.8 GB
    STOQ_LIMITS__EXTRACTED_BYTES           = "536870912"
    STOQ_LIMITS__REQUEST_WALL_MS           = "540000"
    STOQ_SCAN__ALWAYS                      = var.always
    STOQ_SCAN__FETCH                       = "{\"azure_blob\":\"azure_blob\"}"
    STOQ_SCAN__ARCHIVERS                   = "[\"azure_blob\"]"
    STOQ_SCAN__CONNECTORS                  = "[\"cosmosdb\"]"
    STOQ_ARCHIVER__AZURE_BLOB__ACCOUNT     = azurerm_storage_account.archive.name
    STOQ_ARCHIVER__AZURE_BLOB__CONTAINER   = azurerm_storage_container.archive.name
    STOQ_CONNECTOR__COSMOSDB__ENDPOINT     = azurerm_cosmosdb_account.results.endpoint
    STOQ_CONNECTOR__COSMOSDB__DATABASE     = azurerm_cosmosdb_sql_database.stoq.name
    STOQ_CONNECTOR__COSMOSDB__CONTAINER    = azurerm_cosmosdb_sql_container.results.name
    STOQ_TRIGGER__KIND                     = "queue"
    STOQ_TRIGGER__BUCKET                   = azurerm_storage_container.incoming.name
    STOQ_TRIGGER__ACCOUNT                  = azurerm_storage_account.incoming.name
    STOQ_TRIGGER__QUEUE                    = azurerm_storage_queue.incoming.name
  }

  depends_on = [
    azurerm_role_assignment.host_keeps_its_own,
    azurerm_role_assignment.scan_takes_messages,
    azurerm_role_assignment.scan_puts_aside,
    azurerm_role_assignment.scan_reads_incoming,
    azurerm_role_assignment.scan_archives,
    azurerm_cosmosdb_sql_role_assignment.scan_stores_results,
  ]
}
