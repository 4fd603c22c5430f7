// A CDK app with the instances of the multiaz blueprint's preset prod, as a user of CDK's own constructs would write
// it. Synthesised by `node app.js`, without the CDK command line. REPLICAS: read replicas, by default 2. CDK_OUTDIR:
// where the cloud assembly goes. app.py is the same app in Python: change both (scripts/bench_synth.py compares their
// resources).
const { App, CfnOutput, Duration, Fn, RemovalPolicy, Stack } = require("aws-cdk-lib");
const cloudwatch = require("aws-cdk-lib/aws-cloudwatch");
const { SnsAction } = require("aws-cdk-lib/aws-cloudwatch-actions");
const ec2 = require("aws-cdk-lib/aws-ec2");
const iam = require("aws-cdk-lib/aws-iam");
const kms = require("aws-cdk-lib/aws-kms");
const logs = require("aws-cdk-lib/aws-logs");
const rds = require("aws-cdk-lib/aws-rds");
const s3 = require("aws-cdk-lib/aws-s3");
const sns = require("aws-cdk-lib/aws-sns");

const GIB = 1024 ** 3;
const ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD;
const BELOW = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD;
const BREACHING = cloudwatch.TreatMissingData.BREACHING;
const MISSING = cloudwatch.TreatMissingData.MISSING;
// name, metric, statistic, comparison, threshold, minutes, missing data; the figures of db.m5.large and 100 GiB
const EVERYWHERE = [
  ["Silent", "DatabaseConnections", "SampleCount", BELOW, 1, 5, BREACHING],
  ["Cpu", "CPUUtilization", "Average", ABOVE, 90, 5, BREACHING],
  ["Load", "DBLoad", "Average", ABOVE, 2, 15, MISSING],
  ["Connections", "DatabaseConnections", "Average", ABOVE, 810, 5, BREACHING],
  ["Memory", "FreeableMemory", "Average", BELOW, 2 * GIB, 15, BREACHING],
  ["Swap", "SwapUsage", "Average", ABOVE, GIB / 4, 5, MISSING],
  ["StorageWarning", "FreeStorageSpace", "Minimum", BELOW, 20 * GIB, 5, BREACHING],
  ["Storage", "FreeStorageSpace", "Minimum", BELOW, 10 * GIB, 5, BREACHING],
  ["ReadLatency", "ReadLatency", "p90", ABOVE, 0.02, 5, MISSING],
  ["WriteLatency", "WriteLatency", "p90", ABOVE, 0.02, 5, MISSING],
  ["Queue", "DiskQueueDepth", "Average", ABOVE, 64, 5, MISSING],
  ["ByteBalance", "EBSByteBalance%", "Average", BELOW, 10, 3, MISSING],
  ["OperationBalance", "EBSIOBalance%", "Average", BELOW, 10, 3, MISSING],
];
const ON_PRIMARY = [
  ["StorageFull", "FreeStorageSpace", "Minimum", BELOW, GIB, 1, MISSING],
  ["SlotLag", "OldestReplicationSlotLag", "Average", ABOVE, 10 * GIB, 5, MISSING],
  ["WalSize", "TransactionLogsDiskUsage", "Average", ABOVE, 20 * GIB, 5, MISSING],
  ["TransactionIds", "MaximumUsedTransactionIDs", "Average", ABOVE, 1e9, 1, MISSING],
];
const ON_REPLICAS = [["Lag", "ReplicaLag", "Maximum", ABOVE, 60, 10, BREACHING]];

const PARAMETERS = {
  shared_preload_libraries: "pg_stat_statements,auto_explain",
  "rds.force_ssl": "1",
  random_page_cost: "1.1",
  work_mem: "16384",
  log_min_duration_statement: "1000",
  idle_in_transaction_session_timeout: "60000",
};

class ShopStack extends Stack {
  // Without an account CDK knows two zones only.
  get availabilityZones() {
    return [0, 1, 2].map((zone) => Fn.select(zone, Fn.getAzs()));
  }

  constructor(scope, id, replicas) {
    super(scope, id);
    const vpc = new ec2.Vpc(this, "Vpc", {
      ipAddresses: ec2.IpAddresses.cidr("10.0.0.0/16"),
      maxAzs: 3,
      natGateways: 0,
      subnetConfiguration: [{ name: "database", subnetType: ec2.SubnetType.PRIVATE_ISOLATED, cidrMask: 24 }],
      gatewayEndpoints: { S3: { service: ec2.GatewayVpcEndpointAwsService.S3 } },
      flowLogs: { All: {} },
    });
    const group = new ec2.SecurityGroup(this, "DBSecurityGroup", { vpc, allowAllOutbound: false });
    group.addIngressRule(ec2.Peer.ipv4("10.0.1.0/24"), ec2.Port.tcp(5432), "PostgreSQL from the application");
    group.addIngressRule(ec2.Peer.ipv4("10.0.0.0/16"), ec2.Port.tcp(5432), "PostgreSQL from management");
    const key = new kms.Key(this, "Key", { enableKeyRotation: true, alias: "shop" });
    const topic = new sns.Topic(this, "Alarms", { masterKey: key, enforceSSL: true });

    const engine = rds.DatabaseInstanceEngine.postgres({ version: rds.PostgresEngineVersion.of("17.10", "17") });
    const parameters = new rds.ParameterGroup(this, "Parameters", { engine, parameters: PARAMETERS });
    const replicaParameters = new rds.ParameterGroup(this, "ReplicaParameters", {
      engine,
      parameters: { ...PARAMETERS, hot_standby_feedback: "1", max_standby_streaming_delay: "30000" },
    });
    const common = {
      instanceType: ec2.InstanceType.of(ec2.InstanceClass.M5, ec2.InstanceSize.LARGE),
      vpc,
      vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_ISOLATED },
      securityGroups: [group],
      storageType: rds.StorageType.GP3,
      allocatedStorage: 100,
      maxAllocatedStorage: 1000,
      iamAuthentication: true,
      enablePerformanceInsights: true,
      performanceInsightEncryptionKey: key,
      performanceInsightRetention: rds.PerformanceInsightRetention.DEFAULT,
      monitoringInterval: Duration.seconds(60),
      cloudwatchLogsExports: ["postgresql", "upgrade"],
      autoMinorVersionUpgrade: false,
      deletionProtection: true,
    };
    const primary = new rds.DatabaseInstance(this, "Primary", {
      ...common,
      engine,
      multiAz: true,
      databaseName: "ecommercedb",
      credentials: rds.Credentials.fromGeneratedSecret("dbadmin", { encryptionKey: key }),
      storageEncryptionKey: key,
      parameterGroup: parameters,
      backupRetention: Duration.days(7),
      preferredBackupWindow: "03:00-04:00",
      preferredMaintenanceWindow: "sun:04:00-sun:05:00",
      copyTagsToSnapshot: true,
      removalPolicy: RemovalPolicy.SNAPSHOT,
    });
    primary.addRotationSingleUser({ automaticallyAfter: Duration.days(30) });
    const readers = [...Array(replicas).keys()].map(
      (number) =>
        new rds.DatabaseInstanceReadReplica(this, `Replica${number + 1}`, {
          ...common,
          sourceDatabaseInstance: primary,
          availabilityZone: this.availabilityZones[number % 3],
          parameterGroup: replicaParameters,
        }),
    );
    const writer = new iam.Role(this, "Writer", { assumedBy: new iam.AccountRootPrincipal() });
    primary.grantConnect(writer, "app_writer");
    this.alarms("Primary", primary, [...EVERYWHERE, ...ON_PRIMARY], topic);
    readers.forEach((reader, number) =>
      this.alarms(`Replica${number + 1}`, reader, [...EVERYWHERE, ...ON_REPLICAS], topic),
    );

    const accessLog = new s3.Bucket(this, "AccessLog", {
      encryption: s3.BucketEncryption.S3_MANAGED,
      blockPublicAccess: s3.BlockPublicAccess.BLOCK_ALL,
      enforceSSL: true,
    });
    const bucket = new s3.Bucket(this, "Backups", {
      encryption: s3.BucketEncryption.KMS,
      encryptionKey: key,
      blockPublicAccess: s3.BlockPublicAccess.BLOCK_ALL,
      enforceSSL: true,
      versioned: true,
      serverAccessLogsBucket: accessLog,
      lifecycleRules: [
        {
          transitions: [
            { storageClass: s3.StorageClass.INFREQUENT_ACCESS, transitionAfter: Duration.days(30) },
            { storageClass: s3.StorageClass.GLACIER, transitionAfter: Duration.days(90) },
          ],
          expiration: Duration.days(365),
          noncurrentVersionExpiration: Duration.days(90),
        },
      ],
    });
    const exporter = new iam.Role(this, "Export", { assumedBy: new iam.ServicePrincipal("export.rds.amazonaws.com") });
    bucket.grantReadWrite(exporter);

    new CfnOutput(this, "PrimaryEndpoint", { value: primary.dbInstanceEndpointAddress });
    readers.forEach(
      (reader, number) =>
        new CfnOutput(this, `Replica${number + 1}Endpoint`, { value: reader.dbInstanceEndpointAddress }),
    );
    new CfnOutput(this, "SecretArn", { value: primary.secret.secretArn });
    new CfnOutput(this, "BackupBucket", { value: bucket.bucketName });
  }

  alarms(owner, instance, rows, topic) {
    for (const kind of ["postgresql", "upgrade"]) {
      new logs.LogGroup(this, `${owner}${kind}Log`, { retention: logs.RetentionDays.THREE_MONTHS });
    }
    const action = new SnsAction(topic);
    for (const [name, metric, statistic, comparisonOperator, threshold, evaluationPeriods, treatMissingData] of rows) {
      instance
        .metric(metric, { statistic, period: Duration.minutes(1) })
        .createAlarm(this, `${owner}${name}Alarm`, {
          comparisonOperator,
          threshold,
          evaluationPeriods,
          treatMissingData,
        })
        .addAlarmAction(action);
    }
  }
}

const app = new App({ outdir: process.env.CDK_OUTDIR });
new ShopStack(app, "Shop", Number(process.env.REPLICAS ?? 2));
app.synth();
