"""The app of app.js, in Python: the same constructs with the same values. Change both.

REPLICAS: read replicas, by default 2. CDK_OUTDIR: where the cloud assembly goes.
"""

from __future__ import annotations

import os
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_rds as rds
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk.aws_cloudwatch_actions import SnsAction

GIB = 1024**3
ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
BELOW = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
BREACHING = cloudwatch.TreatMissingData.BREACHING
MISSING = cloudwatch.TreatMissingData.MISSING
# name, metric, statistic, comparison, threshold, minutes, missing data; the figures of db.m5.large and 100 GiB
EVERYWHERE: list[tuple[Any, ...]] = [
    ("Silent", "DatabaseConnections", "SampleCount", BELOW, 1, 5, BREACHING),
    ("Cpu", "CPUUtilization", "Average", ABOVE, 90, 5, BREACHING),
    ("Load", "DBLoad", "Average", ABOVE, 2, 15, MISSING),
    ("Connections", "DatabaseConnections", "Average", ABOVE, 810, 5, BREACHING),
    ("Memory", "FreeableMemory", "Average", BELOW, 2 * GIB, 15, BREACHING),
    ("Swap", "SwapUsage", "Average", ABOVE, GIB // 4, 5, MISSING),
    ("StorageWarning", "FreeStorageSpace", "Minimum", BELOW, 20 * GIB, 5, BREACHING),
    ("Storage", "FreeStorageSpace", "Minimum", BELOW, 10 * GIB, 5, BREACHING),
    ("ReadLatency", "ReadLatency", "p90", ABOVE, 0.02, 5, MISSING),
    ("WriteLatency", "WriteLatency", "p90", ABOVE, 0.02, 5, MISSING),
    ("Queue", "DiskQueueDepth", "Average", ABOVE, 64, 5, MISSING),
    ("ByteBalance", "EBSByteBalance%", "Average", BELOW, 10, 3, MISSING),
    ("OperationBalance", "EBSIOBalance%", "Average", BELOW, 10, 3, MISSING),
]
ON_PRIMARY: list[tuple[Any, ...]] = [
    ("StorageFull", "FreeStorageSpace", "Minimum", BELOW, GIB, 1, MISSING),
    ("SlotLag", "OldestReplicationSlotLag", "Average", ABOVE, 10 * GIB, 5, MISSING),
    ("WalSize", "TransactionLogsDiskUsage", "Average", ABOVE, 20 * GIB, 5, MISSING),
    ("TransactionIds", "MaximumUsedTransactionIDs", "Average", ABOVE, 1e9, 1, MISSING),
]
ON_REPLICAS: list[tuple[Any, ...]] = [("Lag", "ReplicaLag", "Maximum", ABOVE, 60, 10, BREACHING)]

PARAMETERS = {
    "shared_preload_libraries": "pg_stat_statements,auto_explain",
    "rds.force_ssl": "1",
    "random_page_cost": "1.1",
    "work_mem": "16384",
    "log_min_duration_statement": "1000",
    "idle_in_transaction_session_timeout": "60000",
}


class ShopStack(cdk.Stack):
    def __init__(self, scope: Any, construct_id: str, replicas: int) -> None:
        super().__init__(scope, construct_id)
        vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr("10.0.0.0/16"),
            max_azs=3,
            nat_gateways=0,
            subnet_configuration=[
                ec2.SubnetConfiguration(name="database", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=24)
            ],
            gateway_endpoints={"S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)},
            flow_logs={"All": ec2.FlowLogOptions()},
        )
        group = ec2.SecurityGroup(self, "DBSecurityGroup", vpc=vpc, allow_all_outbound=False)
        group.add_ingress_rule(ec2.Peer.ipv4("10.0.1.0/24"), ec2.Port.tcp(5432), "PostgreSQL from the application")
        group.add_ingress_rule(ec2.Peer.ipv4("10.0.0.0/16"), ec2.Port.tcp(5432), "PostgreSQL from management")
        key = kms.Key(self, "Key", enable_key_rotation=True, alias="shop")
        topic = sns.Topic(self, "Alarms", master_key=key, enforce_ssl=True)

        engine = rds.DatabaseInstanceEngine.postgres(version=rds.PostgresEngineVersion.of("17.10", "17"))
        parameters = rds.ParameterGroup(self, "Parameters", engine=engine, parameters=PARAMETERS)
        replica_parameters = rds.ParameterGroup(
            self,
            "ReplicaParameters",
            engine=engine,
            parameters={**PARAMETERS, "hot_standby_feedback": "1", "max_standby_streaming_delay": "30000"},
        )
        common: dict[str, Any] = {
            "instance_type": ec2.InstanceType.of(ec2.InstanceClass.M5, ec2.InstanceSize.LARGE),
            "vpc": vpc,
            "vpc_subnets": ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED),
            "security_groups": [group],
            "storage_type": rds.StorageType.GP3,
            "allocated_storage": 100,
            "max_allocated_storage": 1000,
            "iam_authentication": True,
            "enable_performance_insights": True,
            "performance_insight_encryption_key": key,
            "performance_insight_retention": rds.PerformanceInsightRetention.DEFAULT,
            "monitoring_interval": cdk.Duration.seconds(60),
            "cloudwatch_logs_exports": ["postgresql", "upgrade"],
            "auto_minor_version_upgrade": False,
            "deletion_protection": True,
        }
        primary = rds.DatabaseInstance(
            self,
            "Primary",
            **common,
            engine=engine,
            multi_az=True,
            database_name="ecommercedb",
            credentials=rds.Credentials.from_generated_secret("dbadmin", encryption_key=key),
            storage_encryption_key=key,
            parameter_group=parameters,
            backup_retention=cdk.Duration.days(7),
            preferred_backup_window="03:00-04:00",
            preferred_maintenance_window="sun:04:00-sun:05:00",
            copy_tags_to_snapshot=True,
            removal_policy=cdk.RemovalPolicy.SNAPSHOT,
        )
        primary.add_rotation_single_user(automatically_after=cdk.Duration.days(30))
        readers = [
            rds.DatabaseInstanceReadReplica(
                self,
                f"Replica{number + 1}",
                **common,
                source_database_instance=primary,
                availability_zone=self.availability_zones[number % 3],
                parameter_group=replica_parameters,
            )
            for number in range(replicas)
        ]
        writer = iam.Role(self, "Writer", assumed_by=iam.AccountRootPrincipal())
        primary.grant_connect(writer, "app_writer")
        self.alarms("Primary", primary, EVERYWHERE + ON_PRIMARY, topic)
        for number, reader in enumerate(readers, start=1):
            self.alarms(f"Replica{number}", reader, EVERYWHERE + ON_REPLICAS, topic)

        access_log = s3.Bucket(
            self,
            "AccessLog",
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
        )
        bucket = s3.Bucket(
            self,
            "Backups",
            encryption=s3.BucketEncryption.KMS,
            encryption_key=key,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            versioned=True,
            server_access_logs_bucket=access_log,
            lifecycle_rules=[
                s3.LifecycleRule(
                    transitions=[
                        s3.Transition(
                            storage_class=s3.StorageClass.INFREQUENT_ACCESS, transition_after=cdk.Duration.days(30)
                        ),
                        s3.Transition(storage_class=s3.StorageClass.GLACIER, transition_after=cdk.Duration.days(90)),
                    ],
                    expiration=cdk.Duration.days(365),
                    noncurrent_version_expiration=cdk.Duration.days(90),
                )
            ],
        )
        exporter = iam.Role(self, "Export", assumed_by=iam.ServicePrincipal("export.rds.amazonaws.com"))
        bucket.grant_read_write(exporter)

        cdk.CfnOutput(self, "PrimaryEndpoint", value=primary.db_instance_endpoint_address)
        for number, reader in enumerate(readers, start=1):
            cdk.CfnOutput(self, f"Replica{number}Endpoint", value=reader.db_instance_endpoint_address)
        assert primary.secret is not None
        cdk.CfnOutput(self, "SecretArn", value=primary.secret.secret_arn)
        cdk.CfnOutput(self, "BackupBucket", value=bucket.bucket_name)

    @property
    def availability_zones(self) -> list[str]:
        """Three: without an account CDK knows two zones only."""
        return [cdk.Fn.select(zone, cdk.Fn.get_azs()) for zone in range(3)]

    def alarms(
        self, owner: str, instance: rds.DatabaseInstanceBase, rows: list[tuple[Any, ...]], topic: sns.Topic
    ) -> None:
        for kind in ("postgresql", "upgrade"):
            logs.LogGroup(self, f"{owner}{kind}Log", retention=logs.RetentionDays.THREE_MONTHS)
        action = SnsAction(topic)
        for name, metric, statistic, comparison, threshold, minutes, missing in rows:
            instance.metric(metric, statistic=statistic, period=cdk.Duration.minutes(1)).create_alarm(
                self,
                f"{owner}{name}Alarm",
                comparison_operator=comparison,
                threshold=threshold,
                evaluation_periods=minutes,
                treat_missing_data=missing,
            ).add_alarm_action(action)


app = cdk.App(outdir=os.environ.get("CDK_OUTDIR"))
ShopStack(app, "Shop", int(os.environ.get("REPLICAS", "2")))
app.synth()
